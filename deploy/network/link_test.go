package network

import (
	"bytes"
	"io"
	"net"
	"runtime"
	"testing"
	"testing/synctest"
	"time"
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

// taken waits until a link has so many connections.
func taken(l *Link, want int) {
	for n := 0; n < want; runtime.Gosched() {
		l.mu.Lock()
		n = len(l.roads)
		l.mu.Unlock()
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
	taken(l, 2)
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

// A link that is held one way lets the other be; what was sent the held way arrives when it is let go, on the same connection. Who calls
// meanwhile is not answered.
func TestLinkHeldOneWay(t *testing.T) {
	far, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = far.Close() }()
	l, err := OpenLink(far.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	near := call(t, l)
	hub, err := far.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = hub.Close() }()
	ends := map[Way][2]net.Conn{Out: {near, hub}, In: {hub, near}} // who sends, who hears
	for way, other := range map[Way]Way{Out: In, In: Out} {
		from, to := ends[way][0], ends[way][1]
		say(t, from, "before")
		hear(t, to, "before")
		l.Hold(way)
		say(t, from, "late")
		say(t, ends[other][0], "on time")
		hear(t, ends[other][1], "on time")
		if err := to.SetReadDeadline(time.Now().Add(30 * time.Millisecond)); err != nil {
			t.Fatal(err)
		}
		if n, err := to.Read(make([]byte, 8)); err == nil {
			t.Fatalf("%d bytes came %v over a link that was held", n, way)
		}
		during := call(t, l)
		taken(l, 2)
		l.LetGo(way)
		if err := to.SetReadDeadline(time.Time{}); err != nil {
			t.Fatal(err)
		}
		hear(t, to, "late")
		if n, err := during.Read(make([]byte, 8)); err == nil {
			t.Errorf("%d bytes came to one who called while nothing went %v", n, way)
		}
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
}

// A slow link delays all, and a narrow one lets so much through in a second; quick again, what comes is on its way at once.
func TestSlowLink(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &Link{}
		r := &road{gone: make(chan struct{})}
		l.roads = map[*road]bool{r: true}
		begin, free := time.Now(), time.Now()
		var to bytes.Buffer
		arrives := func(bytes int, want time.Duration) {
			t.Helper()
			var due time.Time
			due, free = l.takes(bytes, free)
			if got := due.Sub(begin); got != want {
				t.Errorf("%d bytes are to arrive after %v, want %v", bytes, got, want)
			}
			l.pass(r, Out, &to, sent{bytes: make([]byte, bytes), due: due})
			if got := time.Since(begin); got != want {
				t.Errorf("%d bytes arrived after %v, want %v", bytes, got, want)
			}
		}
		l.Slow(100*time.Millisecond, 1000)
		arrives(500, 600*time.Millisecond)
		arrives(1000, 1700*time.Millisecond)
		l.Slow(0, 0)
		arrives(1<<20, 1700*time.Millisecond)
		if to.Len() != 1500+1<<20 {
			t.Errorf("%d bytes arrived", to.Len())
		}
	})
}
