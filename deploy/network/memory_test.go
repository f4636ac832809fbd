package network_test

import (
	"os"
	"testing"

	"amanat.example/deploy/network"
)

func TestMemory(t *testing.T) {
	own, err := network.MemoryOf(os.Getpid())
	if err != nil || own.Anonymous <= 0 || own.Resident < own.Anonymous {
		t.Errorf("%+v %v", own, err)
	}
	if twice := own.Add(own); twice.Resident != 2*own.Resident || twice.Anonymous != 2*own.Anonymous {
		t.Errorf("%+v", twice)
	}
	if _, err := network.MemoryOf(-1); err == nil {
		t.Error("there is no such process")
	}
}
