#!/bin/sh
# Writes .env for docker-compose.yaml, with secrets made on this machine. An .env that is there is left alone: its
# passwords are those of a database which may hold data by now.
set -eu
cd "$(dirname "$0")/.."
if [ -e .env ]; then
    echo ".env is there already: edit it, or move it away to have a new one made" >&2
    exit 1
fi

hex() { # N random bytes, written as 2N hex digits
    od -An -v -N "$1" -t x1 /dev/urandom | tr -d ' \n'
}

umask 077
access_key=$(hex 10) secret_key=$(hex 20) simulator=$(hex 16)
cat >.env.new <<END
# Read by docker compose. Keep it: without FERNET_KEY the stored connections, without POSTGRES_PASSWORD the database
# cannot be opened any more.

# Airflow: http://localhost:8080, user admin
ADMIN_PASSWORD=$(hex 8)
FERNET_KEY=$(head -c 32 /dev/urandom | base64 | tr '+/' '-_')
API_SECRET_KEY=$(hex 32)
JWT_SECRET=$(hex 64)
POSTGRES_PASSWORD=$(hex 24)
REDIS_PASSWORD=$(hex 24)
AIRFLOW_EXECUTOR=LocalExecutor
# For tasks on Celery workers, in place of the line above:
# AIRFLOW_EXECUTOR=CeleryExecutor
# COMPOSE_PROFILES=celery

# The store that comes along: http://localhost:8333
S3_ACCESS_KEY=$access_key
S3_SECRET_KEY=$secret_key

# The simulated CCA
SIMULATOR_PASSWORD=$simulator

# Where a browser finds Airflow, when that is not http://localhost:8080, as behind a reverse proxy:
# AIRFLOW__API__BASE_URL=https://airflow.example.com

# Where files come from and where they go: docs/docker-compose.md has these lines for the real API and Amazon's S3.
# They are JSON in single quotes. In a password write ' as \\u0027, " as \\" and \\ as \\\\; a \$ stays as it is.
AIRFLOW_CONN_CCA_DEFAULT='{"conn_type": "cca", "schema": "http", "host": "simulator", "port": 8089, "login": "simulated.machine.account", "password": "$simulator", "extra": {"allow_http": true}}'
AIRFLOW_CONN_AWS_DEFAULT='{"conn_type": "aws", "login": "$access_key", "password": "$secret_key", "extra": {"endpoint_url": "http://s3:8333", "region_name": "us-east-1"}}'
AIRFLOW_VAR_CCA_STORAGE=s3://aws_default@cca/landing
END
mv .env.new .env
echo ".env is written; log in to Airflow as admin with the ADMIN_PASSWORD in it"
