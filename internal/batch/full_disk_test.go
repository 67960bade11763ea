package batch

import (
	"os"
	"testing"
)

// A disk that is full is tried by a file that cannot be written.
func TestAnswersAreKeptInMemoryOnceTheDiskIsFull(t *testing.T) {
	j, err := NewJournals(JournalOptions{Dir: t.TempDir()}).open(t.Context(), "b")
	if err != nil {
		t.Fatal(err)
	}
	defer j.close()
	if err := j.put("one", Row{Text: "1"}); err != nil || j.lost {
		t.Fatalf("with room: %v", err)
	}
	whole := j.file
	readOnly, err := os.Open(j.path(journalSuffix))
	if err != nil {
		t.Fatal(err)
	}
	j.file = readOnly
	if err := j.put("two", Row{Text: "2"}); err != nil || !j.lost {
		t.Errorf("without room: error %v, lost %t", err, j.lost)
	}
	if err := readOnly.Close(); err != nil {
		t.Fatal(err)
	}
	j.file = whole
	if err := j.put("three", Row{Text: "3"}); err != nil {
		t.Error(err)
	}
	for key, want := range map[string]string{"one": "1", "two": "2", "three": "3"} {
		if row, err := j.get(key); err != nil || row.Text != want {
			t.Errorf("%s: got %+v, %v", key, row, err)
		}
	}
}
