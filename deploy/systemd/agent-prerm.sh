#!/bin/sh
# Before the package goes. The state stays in /var/lib: it is evidence, and a person removes it.
set -e
if [ "$1" = remove ] && [ -d /run/systemd/system ]; then
	systemctl disable --now egovmon-agent.service
fi
