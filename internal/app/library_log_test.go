package app

import (
	"bytes"
	stdlog "log"
	"log/slog"
	"strings"
	"testing"
)

func TestLibrariesWriteToTheLogAndNotWhatHostsSent(t *testing.T) {
	var log bytes.Buffer
	restore := takeLibraryLog(slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug})))
	defer restore()
	stdlog.Printf("Unsolicited response received on idle HTTP channel starting with %q; err=%v", "the secret of somebody", nil)
	stdlog.Print("one\nlevel=INFO msg=forged")
	text := log.String()
	if strings.Count(text, "\n") != 2 || !strings.Contains(text, "Unsolicited response received on idle HTTP channel") || strings.Contains(text, "secret") {
		t.Errorf("the log has:\n%s", text)
	}
}
