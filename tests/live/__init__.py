"""A real Airflow for the tests marked `live`, for `make demo` and for `make ui`."""
