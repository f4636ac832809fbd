package network

import (
	"io"
	"net"
	"runtime"
	"testing"
)

// echo answers every connection with what it says, and tells what each one said when it ends.
func echo(t *testing.T) (address string, said <-chan string) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	all := make(chan string, 8)
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				var heard []byte
				buffer := make([]byte, 64)
				for {
					n, err := conn.Read(buffer)
					heard = append(heard, buffer[:n]...)
					if err != nil {
						break
					}
					if _, err := conn.Write(buffer[:n]); err != nil {
						break
					}
				}
				_ = conn.Close()
				all <- string(heard)
			}()
		}
	}()
	return listener.Addr().String(), all
}

func call(t *testing.T, l *Link) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", l.Address())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

func say(t *testing.T, conn net.Conn, text string) {
	t.Helper()
	if _, err := io.WriteString(conn, text); err != nil {
		t.Fatal(err)
	}
}

func hear(t *testing.T, conn net.Conn, text string) {
	t.Helper()
	got := make([]byte, len(text))
	if _, err := io.ReadFull(conn, got); err != nil || string(got) != text {
		t.Fatalf("heard %q, want %q: %v", got, text, err)
	}
}

// A link that is cut swallows what is sent and answers nobody; mended, it serves who calls again.
func TestLink(t *testing.T) {
	address, said := echo(t)
	l, err := OpenLink(address)
	if err != nil {
		t.Fatal(err)
	}
	old := call(t, l)
	say(t, old, "before")
	hear(t, old, "before")

	l.Cut()
	say(t, old, "lost")
	during := call(t, l)
	say(t, during, "unheard")
	for n := 0; n < 2; runtime.Gosched() { // until it was taken
		l.mu.Lock()
		n = len(l.roads)
		l.mu.Unlock()
	}
	l.Mend()
	for _, conn := range []net.Conn{old, during} {
		if n, err := conn.Read(make([]byte, 8)); err == nil {
			t.Errorf("%d bytes came over a link that was cut", n)
		}
	}
	if got := <-said; got != "before" {
		t.Errorf("the far end heard %q", got)
	}

	again := call(t, l)
	say(t, again, "after")
	hear(t, again, "after")
	if err := again.Close(); err != nil {
		t.Fatal(err)
	}
	if got := <-said; got != "after" { // and what was begun during the cut never came
		t.Errorf("the far end heard %q", got)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := net.Dial("tcp", l.Address()); err == nil {
		t.Error("a closed link takes connections")
	}
}

// Where nobody listens at the far end, the near end learns it.
func TestLinkToNobody(t *testing.T) {
	l, err := OpenLink("127.0.0.1:1")
	if err != nil {
		t.Fatal(err)
	}
	conn := call(t, l)
	if n, err := conn.Read(make([]byte, 8)); err == nil {
		t.Errorf("%d bytes came from nobody", n)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
}
