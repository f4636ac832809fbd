// Package limits owns the time limits of the field, as tables that name their source: limits by risk,
// and limits of laws and rules laid over them. A node may give files of its own in the place of either.
//
// A table is a CSV file with a header; lines that begin with # are comments.
//
//	risk.csv   risk (high, medium, low), acknowledge, answer, seen, follow_up, law, source
//	legal.csv  id, province, district, event, step, limit, law, section, source
//
// A limit is a number with m, h or d. province is an ISO 3166-2 code, district a P-code of it; empty
// means everywhere. event is what the time counts from: `intake` and `arrival` happen to every case,
// `missing-report`, `safe-house-admission` and `dar-ul-aman-admission` are recorded by a worker, and
// `step` is the moment a limit by risk counts from. step is a code of the list `deadline`. source is S
// (read in a source), 2 (second-hand) or P (proposal of a node or of ours).
//
// Invariants, each held by a test:
//
//   - Every row says by what law or proposal it holds and where that was read; one that does not is
//     refused. An error names file, line and column, never what stood there.
//   - Where several limits hold for one step, the strictest applies.
//   - Reading is pure: bytes in, table out. Who reads the files is kit/config.
package limits
