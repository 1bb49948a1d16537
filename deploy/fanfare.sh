#!/bin/sh
# /usr/local/sbin/fanfare: the command, for root, as fanfare.service runs it: as the same user, with the same options. For example
# `fanfare doctor`, or from cron `fanfare backup /var/backups/fanfare/today.db`.
set -a
FANFARE_DATA=/var/lib/fanfare
if [ -e /etc/fanfare.env ]; then
  . /etc/fanfare.env
fi
exec runuser -u fanfare -- /opt/fanfare/node_modules/.bin/node /opt/fanfare/node_modules/fanfare/bin/fanfare.js "$@"
