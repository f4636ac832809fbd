package store

import "time"

// Stats count since Open.
type Stats struct {
	Commits       uint64        // transactions made durable
	BatchedCalls  uint64        // Updates in them
	LargestBatch  int           // Updates in the largest
	CommitTime    time.Duration // spent writing and syncing, all commits together
	SlowestCommit time.Duration
}

// Stats returns the counts so far.
func (db *DB) Stats() Stats {
	db.mu.Lock()
	defer db.mu.Unlock()
	return db.counts
}

func (db *DB) took(calls int, took time.Duration) {
	db.mu.Lock()
	defer db.mu.Unlock()
	db.counts.Commits++
	db.counts.BatchedCalls += uint64(calls)
	db.counts.LargestBatch = max(db.counts.LargestBatch, calls)
	db.counts.CommitTime += took
	db.counts.SlowestCommit = max(db.counts.SlowestCommit, took)
}
