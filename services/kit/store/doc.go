// Package store is what a service keeps its truth in: one bbolt file with typed tables, indexes, and durable transactions.
//
// What it promises, and its tests hold:
//
//   - Update returns nil only when its changes are on disk. Updates that wait at the same moment share one commit; one that
//     fails or panics leaves no trace and does not touch the others.
//   - What a read returns is on disk too: a read waits for the commit that it sees, and Open syncs what a process that died may have left
//     written and not synced.
//   - A read never returns a wrong value. Every row carries a checksum over its bucket, key and content, every key of a scan
//     must come in order, and the pages that lead to the rows are verified before the file is opened.
//   - A row that damage has made unreachable is found by Check: each bucket's row count and the sum of its rows' checksums
//     are kept in the transactions that change it. Services run Scrub, which does the same in steps, an hour after they start
//     and then every day, and stop when it finds something.
//   - Indexes agree with their tables after every commit.
//   - Damage met by a read, and any failed write or sync, is fatal: the store answers nothing any more, and the process must
//     stop. There is no mode without sync.
//   - A file appears whole or not at all, is opened by one process, is brought forward by migrations one commit each, and is
//     refused when a newer program has written it.
//   - An incarnation never repeats: it comes from the clock at making, restoring and raising, never from a copy alone.
//
// A service declares its Schema, tables and indexes at package level in schema.go. Keys are made by K. Messages are
// marshalled protobuf.
package store
