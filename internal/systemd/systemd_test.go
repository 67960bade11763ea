package systemd_test

import (
	"context"
	"fmt"
	"net"
	"os"
	"regexp"
	"testing"
	"time"

	"ollama-mcp/internal/systemd"
)

// listen is a manager that hears what it is told.
func listen(t *testing.T) (socket string, heard func() string) {
	t.Helper()
	socket = t.TempDir() + "/notify"
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: socket, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return socket, func() string {
		text := make([]byte, 1000)
		_ = conn.SetReadDeadline(time.Now().Add(5 * time.Minute)) // catches a test that hangs
		n, err := conn.Read(text)
		if err != nil {
			t.Fatal(err)
		}
		return string(text[:n])
	}
}

func environment(pairs ...string) func(string) string {
	return func(name string) string {
		for i := 0; i < len(pairs); i += 2 {
			if pairs[i] == name {
				return pairs[i+1]
			}
		}
		return ""
	}
}

func TestManagerIsToldHowTheProgramDoes(t *testing.T) {
	socket, heard := listen(t)
	m := systemd.New(environment("NOTIFY_SOCKET", socket))
	for _, tc := range []struct {
		tell func() error
		want string
	}{
		{m.Ready, `^READY=1$`}, {m.Reloading, `^RELOADING=1\nMONOTONIC_USEC=[1-9][0-9]*$`}, {m.Stopping, `^STOPPING=1$`},
	} {
		if err := tc.tell(); err != nil {
			t.Fatal(err)
		}
		if got := heard(); !regexp.MustCompile(tc.want).MatchString(got) {
			t.Errorf("heard %q, want %s", got, tc.want)
		}
	}
}

func TestWatchdogIsToldAfterEachLookThatTheProgramIsAlive(t *testing.T) {
	socket, heard := listen(t)
	m := systemd.New(environment("NOTIFY_SOCKET", socket, "WATCHDOG_USEC", "2000", "WATCHDOG_PID", fmt.Sprint(os.Getpid())))
	ctx, stop := context.WithCancel(t.Context())
	looked, done := make(chan struct{}), make(chan struct{})
	go func() { defer close(done); m.Watchdog(ctx, func() { looked <- struct{}{} }) }()
	for range 3 {
		<-looked
		if got := heard(); got != "WATCHDOG=1" {
			t.Errorf("heard %q", got)
		}
	}
	stop()
	for ended := false; !ended; {
		select {
		case <-looked:
		case <-done:
			ended = true
		}
	}
}

func TestNothingIsToldWhereNobodyListens(t *testing.T) {
	for name, m := range map[string]*systemd.Manager{
		"nil": nil, "zero": new(systemd.Manager), "no socket": systemd.New(environment("WATCHDOG_USEC", "1000")),
		"the watchdog of another process": systemd.New(environment("NOTIFY_SOCKET", "/nowhere", "WATCHDOG_USEC", "1000", "WATCHDOG_PID", "1")),
	} {
		m.Watchdog(t.Context(), func() { t.Errorf("%s: the watchdog runs", name) })
	}
	if err := new(systemd.Manager).Ready(); err != nil {
		t.Error(err)
	}
	if err := systemd.New(environment("NOTIFY_SOCKET", t.TempDir()+"/gone")).Ready(); err == nil {
		t.Error("a manager that has gone is no error")
	}
}
