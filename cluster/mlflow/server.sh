#!/bin/sh
# MLflow's server: runs in PostgreSQL, artifacts handed through the server, a password for everybody.
#   PGHOST, PGPORT, PGUSER, PGPASSWORD, PGDATABASE  the database, as of every PostgreSQL client
#   MLFLOW_AUTH_ADMIN_PASSWORD                      of the user admin, 12 characters or more; for the first start
#   MLFLOW_FLASK_SERVER_SECRET_KEY                  what sessions are signed with: openssl rand -hex 32
#   MLFLOW_ARTIFACTS_DESTINATION                    a folder, s3://… or gs://…
#   MLFLOW_HOST, MLFLOW_PORT                        where it listens (default 127.0.0.1 and 5000)
#   MLFLOW_SERVER_ALLOWED_HOSTS                     names that clients call it by, with commas between (default
#                                                   localhost and private addresses)
#   MLFLOW_SERVER_CORS_ALLOWED_ORIGINS              https://NAME of its pages, where that is not localhost
set -eu
: "${PGHOST:?}" "${PGUSER:?}" "${PGPASSWORD:?}" "${PGDATABASE:?}"
: "${MLFLOW_AUTH_ADMIN_PASSWORD:?}" "${MLFLOW_FLASK_SERVER_SECRET_KEY:?}" "${MLFLOW_ARTIFACTS_DESTINATION:?}"
MLFLOW_AUTH_CONFIG_PATH="$(cd "$(dirname "$0")" && pwd)/auth.ini"
export MLFLOW_AUTH_CONFIG_PATH
export MLFLOW_BACKEND_STORE_URI=postgresql+psycopg2:// # all the rest is in PG…
export MLFLOW_SERVER_ENABLE_JOB_EXECUTION=false        # evaluations of language models
exec python -m mlflow server --app-name basic-auth
