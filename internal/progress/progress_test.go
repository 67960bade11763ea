package progress_test

import (
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"ollama-mcp/internal/progress"
)

func TestReporterSpeaksByTheClockUntilItIsStopped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var sent []string
		var state atomic.Value
		state.Store("queued")
		r := progress.Start(func(seconds float64, message string) { sent = append(sent, fmt.Sprint(seconds, " ", message)) },
			func() string { return state.Load().(string) })
		time.Sleep(time.Second)
		state.Store("loading")
		time.Sleep(4 * time.Second)
		r.Stop()
		r.Stop() // a second time does nothing
		time.Sleep(time.Minute)
		if want := []string{"0.5 queued", "2.5 loading", "4.5 loading"}; !slices.Equal(sent, want) {
			t.Errorf("got %q, want %q", sent, want)
		}
	})
}

func TestQuickCallReportsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := progress.Start(func(_ float64, message string) { t.Errorf("reported %q", message) }, func() string { return "starting" })
		time.Sleep(100 * time.Millisecond)
		r.Stop()
		time.Sleep(time.Minute)
	})
}

func TestReporterWithoutAnyoneToSendToDoesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // fails if a goroutine is left
		progress.Start(nil, func() string { t.Error("the message was asked for"); return "" })
		time.Sleep(time.Minute)
	})
}

func TestProgressForReadersIsReportedTenTimesASecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sent := 0
		r := progress.StartOften(func(float64, string) { sent++ }, func() string { return "" })
		time.Sleep(time.Second + time.Millisecond)
		r.Stop()
		if sent != 10 {
			t.Errorf("%d reports in a second", sent)
		}
	})
}
