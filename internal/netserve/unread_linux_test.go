package netserve

import (
	"os"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"
)

func TestWhatWasWrittenIsUnreadUntilItHasBeenRead(t *testing.T) {
	for name, open := range map[string]func(fds []int) error{
		"pipe": unix.Pipe,
		"socket": func(fds []int) error {
			pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
			fds[1], fds[0] = pair[0], pair[1]
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			fds := make([]int, 2)
			if err := open(fds); err != nil {
				t.Fatal(err)
			}
			in, out := os.NewFile(uintptr(fds[0]), "in"), os.NewFile(uintptr(fds[1]), "out")
			defer in.Close()
			defer out.Close()
			check := func(when string, want bool) {
				t.Helper()
				n, mayGoOn, known := unread(out)
				if n > 0 != want || !known || mayGoOn != (name == "socket") {
					t.Errorf("%s: %d, may go on %t, known %t", when, n, mayGoOn, known)
				}
			}
			check("at first", false)
			if _, err := out.WriteString("a report of progress"); err != nil {
				t.Fatal(err)
			}
			check("written", true)
			part := make([]byte, 8)
			if _, err := in.Read(part); err != nil {
				t.Fatal(err)
			}
			check("read in part", true)
			if _, err := in.Read(make([]byte, 100)); err != nil {
				t.Fatal(err)
			}
			check("read", false)
			UntilRead(t.Context(), out, 0) // which returns
		})
	}
}

func TestWhatIsBehindAMessageNeedNotBeRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		in, out, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		defer in.Close()
		defer out.Close()
		const answer = "the answer to another call"
		if _, err := out.WriteString(answer); err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		if UntilRead(t.Context(), out, int64(len(answer))); !time.Now().Equal(began) {
			t.Error("it waited for the answer to be read")
		}
		if UntilRead(t.Context(), out, int64(len(answer)-1)); time.Now().Equal(began) {
			t.Error("it did not wait for what is before the answer")
		}
	})
}
