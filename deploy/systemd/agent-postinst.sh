#!/bin/sh
# After the package's files are there: a service that runs takes the new program.
set -e
if [ "$1" = configure ] && command -v systemd-sysusers >/dev/null; then
	systemd-sysusers egovmon-agent.conf
fi
if [ "$1" = configure ] && [ -d /run/systemd/system ]; then
	systemctl daemon-reload
	systemctl try-restart egovmon-agent.service
fi
