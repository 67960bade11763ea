package app

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

// WithSignals returns a context that ends when the process is asked to end. A second such
// signal ends the process at once, as the system does it.
func WithSignals(ctx context.Context) context.Context {
	ctx, stop := signal.NotifyContext(ctx, endSignals()...)
	context.AfterFunc(ctx, stop)
	return ctx
}

// endSignals are the signals that end the program. A process started by nohup ignores
// SIGHUP, and keeps ignoring it.
func endSignals() []os.Signal {
	all := []os.Signal{os.Interrupt, syscall.SIGTERM}
	if !signal.Ignored(syscall.SIGHUP) {
		all = append(all, syscall.SIGHUP)
	}
	return all
}

// reloadSignals returns a channel that gets each SIGHUP from now on. A server that reads
// files reloads its configuration on SIGHUP; without files the signal ends it.
func reloadSignals() <-chan os.Signal {
	hangups := make(chan os.Signal, 1)
	signal.Reset(syscall.SIGHUP)
	signal.Notify(hangups, syscall.SIGHUP)
	return hangups
}

// ignoreBrokenPipes keeps SIGPIPE from killing a server on stdio whose client has died: the
// write that fails says so.
func ignoreBrokenPipes() { signal.Ignore(syscall.SIGPIPE) }
