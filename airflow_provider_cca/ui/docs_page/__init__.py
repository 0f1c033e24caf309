"""The documentation in Airflow's UI: the Markdown of the package as web pages, mounted by the plugin."""
