#!/bin/sh
# A standing head on one workstation, for everybody who has its token: studies are submitted to it, and queue.
# It runs in the foreground, and Ctrl-C or SIGTERM ends it and what it started, never another Ray on this machine.
# Everything listens on loopback only, so that no other machine can join. PORT (default 6379, and the two after it; not
# 10000 to 19999, which are Ray's workers'), DASHBOARD (8265) and FOLDER (/tmp/topotune; short, for socket paths have at
# most 107 characters) can be set, for two of these side by side.
set -eu
PORT="${PORT:-6379}" DASHBOARD="${DASHBOARD:-8265}" FOLDER="${FOLDER:-/tmp/topotune}"
if ! command -v ray > /dev/null || ! command -v python > /dev/null; then
  echo "no ray on PATH: activate the environment that topotune is installed in" >&2
  exit 2
fi
for port in "$PORT" "$DASHBOARD"; do
  if ! printf '%s' "$port" | grep -Eqx '[1-9][0-9]{0,4}' || [ "$port" -gt 65533 ]; then
    echo "PORT and DASHBOARD must be numbers from 1 to 65533, not '$port'" >&2
    exit 2
  fi
done
if [ "$DASHBOARD" -ge "$PORT" ] && [ "$DASHBOARD" -le $((PORT + 2)) ]; then
  echo "DASHBOARD=$DASHBOARD: must not be PORT=$PORT, nor one of the two after it" >&2
  exit 2
fi
if ! printf '%s' "$FOLDER" | grep -Eqx '/.{1,33}'; then
  echo "FOLDER=$FOLDER: must be an absolute path of at most 34 characters" >&2
  exit 2
fi
if [ "$PORT" -ge 9998 ] && [ "$PORT" -le 19999 ]; then
  echo "PORT=$PORT: must not be 9998 to 19999, where Ray's workers listen" >&2
  exit 2
fi
# Ray starts without the port of its agent, and takes no jobs then
for port in "$PORT" $((PORT + 1)) $((PORT + 2)) "$DASHBOARD"; do
  if ! python -c "import socket; socket.create_server(('127.0.0.1', $port))" 2> /dev/null; then
    echo "port $port of 127.0.0.1 is taken: set PORT, or DASHBOARD, to another" >&2
    exit 2
  fi
done
(umask 077 && mkdir -p "$FOLDER")
if [ -z "$(find "$FOLDER" -prune -type d -user "$(id -u)" -perm 700)" ]; then
  echo "FOLDER=$FOLDER: must be your own, and closed to others (mode 700), for the sockets in it ask for no token" >&2
  exit 2
fi
export RAY_AUTH_MODE=token
export RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER=0       # where Ray supports no clusters, its processes stay on loopback
(umask 077 && ray get-auth-token --generate > /dev/null 2>&1)   # into ~/.ray/auth_token, unless there is one
# Ray opens its own folder to everybody: it stands within the closed one
exec ray start --head --block --disable-usage-stats --temp-dir "$FOLDER/ray" \
  --node-ip-address 127.0.0.1 --port "$PORT" \
  --ray-client-server-port $((PORT + 1)) --dashboard-agent-listen-port $((PORT + 2)) \
  --dashboard-host 127.0.0.1 --dashboard-port "$DASHBOARD"
