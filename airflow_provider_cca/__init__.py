"""Apache Airflow provider for Cisco's Cloud Connected Audio (CCA) Files Download API v7.1."""

__version__ = "0.1.0"
