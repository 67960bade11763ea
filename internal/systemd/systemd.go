// Package systemd tells the service manager how the program does (sd_notify), where one asks for it.
//
// It promises that nothing is sent, and nothing fails, where no manager listens. What the program
// reports, and when, is left to the caller.
package systemd

import (
	"context"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"time"
)

// Manager is the service manager. The zero Manager, and a nil one, are none.
type Manager struct {
	socket   string        // "" for nobody
	interval time.Duration // in which it wants to hear that the program is alive; 0 for never
}

// New finds the manager that the environment names.
func New(getenv func(string) string) *Manager {
	m := &Manager{socket: getenv("NOTIFY_SOCKET")}
	if abstract, ok := strings.CutPrefix(m.socket, "@"); ok {
		m.socket = "\x00" + abstract
	}
	pid := getenv("WATCHDOG_PID")
	if pid != "" && pid != strconv.Itoa(os.Getpid()) {
		return m // it means another process
	}
	if micros, err := strconv.ParseInt(getenv("WATCHDOG_USEC"), 10, 64); err == nil && micros > 0 && m.socket != "" {
		m.interval = time.Duration(micros) * time.Microsecond
	}
	return m
}

// Ready says that the program takes requests.
func (m *Manager) Ready() error { return m.tell("READY=1") }

// Reloading says that the configuration is being read again; Ready says that it has been.
func (m *Manager) Reloading() error {
	return m.tell(fmt.Sprintf("RELOADING=1\nMONOTONIC_USEC=%d", monotonic().Microseconds()))
}

// Stopping says that the program is about to end.
func (m *Manager) Stopping() error { return m.tell("STOPPING=1") }

// Watchdog says that the program is alive, twice in each interval in which the manager wants to hear
// that, until ctx ends. alive is called before each time, and blocks if the program has locked itself
// up, so that the manager starts it anew.
func (m *Manager) Watchdog(ctx context.Context, alive func()) {
	if m == nil || m.interval == 0 {
		return
	}
	tick := time.NewTicker(m.interval / 2)
	defer tick.Stop()
	for {
		alive()
		_ = m.tell("WATCHDOG=1") // the next one may be heard
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

func (m *Manager) tell(state string) error {
	if m == nil || m.socket == "" {
		return nil
	}
	conn, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: m.socket, Net: "unixgram"})
	if err != nil {
		return fmt.Errorf("systemd: %w", err)
	}
	defer conn.Close()
	_ = conn.SetWriteDeadline(time.Now().Add(time.Second)) // a manager that hangs must not hold us up
	if _, err = conn.Write([]byte(state)); err != nil {
		return fmt.Errorf("systemd: %w", err)
	}
	return nil
}
