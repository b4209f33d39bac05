# Sourced after lib.sh by scenarios that mount file systems below $W: the names of those that are
# there stand in FILE_SYSTEMS, and are unmounted at the end.

FILE_SYSTEMS=
unmount() {
	local fs rc=$?
	for pid in $STARTED_PIDS; do kill_tree "$pid" 2>/dev/null; done
	cd /
	for fs in $FILE_SYSTEMS; do umount -l "$W/$fs"; done
	(exit $rc)
	scenario_end
}
trap unmount EXIT
