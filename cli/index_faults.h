/*
 * Damage of the index that no function can return: it is read through a mapping, so a page that
 * cannot be read comes as SIGBUS, and LMDB aborts or reads at random where a page makes no sense.
 */
#ifndef SNAP_CLI_INDEX_FAULTS_H
#define SNAP_CLI_INDEX_FAULTS_H

/*
 * From now on all that ends the command with EXIT_DAMAGED and a message naming the index.  That is
 * as safe as any other sudden end of snap.
 */
void index_faults_install(void);

#endif
