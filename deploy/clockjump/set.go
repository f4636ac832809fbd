package clockjump

import (
	"encoding/binary"
	"os"
	"time"
)

// Variable names the file that says by how much the clock of a process is wrong.
const Variable = "AMANAT_CLOCK"

// Set has the clocks of the processes that follow a file go wrong by so much, in whole seconds: ahead, or behind where it is negative. 0
// sets them right. The file is made when there is none; it must be there before a process starts.
func Set(path string, ahead time.Duration) error {
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	var raw [8]byte
	binary.NativeEndian.PutUint64(raw[:], uint64(int64(ahead/time.Second)))
	if _, err := file.WriteAt(raw[:], 0); err != nil {
		_ = file.Close()
		return err
	}
	return file.Close()
}
