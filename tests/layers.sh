#!/bin/bash
# layers.sh ROOT: #include lines may point down only, as docs/architecture.md draws it; the index
# library is included in one file.
set -u
cd "$1" || exit 1
bad=0
rooms=" base store dedup engine gc cli tests bench "

# complain FILE:LINE MESSAGE
complain() {
	echo "$1: $2"
	bad=1
}

# may ROOM ROOM...: the rooms whose headers files of the first may include, besides base and itself.
may() {
	local room=$1 file line target allowed
	shift
	[ -d "$room" ] || return 0
	while IFS=: read -r file line target; do
		target=${target#*\"}
		target=${target%%\"*}
		target=${target%%/*}
		case $rooms in
		*" $target "*) ;;
		*) continue ;; # a header of the same folder, or a generated one
		esac
		for allowed in "$room" base "$@"; do
			[ "$target" = "$allowed" ] && continue 2
		done
		complain "$file:$line" "$room/ must not include headers of $target/"
	done < <(grep -rnE --include='*.[chS]' '^[[:space:]]*#[[:space:]]*include[[:space:]]*"[^"]*/' "$room")
}

may base
may store
may dedup store
may gc store
may engine dedup store
may cli engine gc store dedup

mapfile -t lmdb < <(grep -rlE --include='*.[ch]' '#[[:space:]]*include[[:space:]]*[<"]lmdb\.h' \
	base store dedup engine gc cli 2>/dev/null | grep -v '^store/index_internal\.h$')
[ ${#lmdb[@]} = 0 ] || complain "${lmdb[*]}" "lmdb.h belongs in store/index_internal.h"

mapfile -t index < <(grep -rlE '#[[:space:]]*include[[:space:]]*"store/index_internal\.h"' \
	base store dedup engine gc cli 2>/dev/null | grep -vE '^store/index[a-z_]*\.c$')
[ ${#index[@]} = 0 ] || complain "${index[*]}" "only the files of the index know LMDB"

# The right to take things out of a store is gc's alone, and it has it through one header.
while IFS=: read -r file line _; do
	complain "$file:$line" "only gc may take things out of a store"
done < <(grep -rnE --include='*.[ch]' '#include "store/(store_reap|reap_hole)\.h"' dedup engine cli 2>/dev/null)
while IFS=: read -r file line _; do
	complain "$file:$line" "gc changes the store through store/store_reap.h alone"
done < <(grep -rnE --include='*.[ch]' \
	'#include "store/(index|pack|commit|segment_write|store_internal|reap_hole)\.h"' gc 2>/dev/null)
while IFS=: read -r file line _; do
	complain "$file:$line" "packs are removed and punched in store/ alone"
done < <(grep -rnE --include='*.c' '\b(pack_unlink|pack_punch|index_del(_u64)?|index_sweep)\(' \
	dedup engine gc cli 2>/dev/null)

# Within the engine, those that look into processes and those that know images stay apart from the
# store; only what drives them meets it.
while IFS=: read -r file line _; do
	complain "$file:$line" "engine/image and engine/arch know nothing of the store"
done < <(grep -rnE --include='*.[ch]' '#include "(store|dedup)/' engine/image engine/arch 2>/dev/null)

# The C library's rename() makes nothing durable: io_replace_file() does.
while IFS=: read -r file line _; do
	complain "$file:$line" "use io_replace_file() of base/io.h"
done < <(grep -rnE --include='*.c' '\brename(at2?)?\(' store dedup engine gc cli 2>/dev/null |
	grep -vE '^[^:]*:[0-9]*:[[:space:]]*(/?\*|//)')

[ $bad = 0 ] && echo "arrows point down"
exit $bad
