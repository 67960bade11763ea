package jobs_test

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"ollama-mcp/internal/fault"
	"ollama-mcp/internal/jobs"
)

// files are the names of the files in a directory that end in a suffix.
func files(t *testing.T, dir, suffix string) (names []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if strings.HasSuffix(e.Name(), suffix) {
			names = append(names, e.Name())
		}
	}
	return names
}

// crash copies a directory as another process finds it when this one has been killed: with
// locks that nobody holds.
func crash(t *testing.T, dir string) (copied string) {
	t.Helper()
	copied = t.TempDir()
	if err := os.CopyFS(copied, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	return copied
}

func TestResultsOutlastTheProgramAndTheirTimeDoesToo(t *testing.T) {
	dir := t.TempDir()
	var done, cancelled, failed string
	story(t, jobs.Options{Dir: dir}, func(t *testing.T, r *jobs.Registry) {
		j := keep(t, r, alice, lasting(time.Second, `"done"`))
		done = j.Info().ID
		c := keep(t, r, alice, lasting(time.Hour, `"done"`))
		cancelled = c.Info().ID
		c.Cancel()
		f := keep(t, r, alice, func(context.Context) func() jobs.Outcome {
			return func() jobs.Outcome {
				return jobs.Outcome{Err: fault.Invalidf("no"), Failed: true}
			}
		})
		failed = f.Info().ID
		<-f.Ended()
		<-c.Ended()
		<-j.Ended()
	})
	story(t, jobs.Options{Dir: dir}, func(t *testing.T, r *jobs.Registry) {
		for id, want := range map[string]struct {
			state  jobs.State
			result string
		}{done: {jobs.Done, `"done"`}, cancelled: {jobs.Cancelled, `"the job was cancelled: context canceled"`}, failed: {jobs.Failed, ""}} {
			j, err := r.Get(alice, id)
			if err != nil {
				t.Fatal(err)
			}
			<-j.Ended()
			expect(t, j, want.state, want.result)
			j.Cancel() // which does nothing any more
			expect(t, j, want.state, want.result)
			fails(t, r, bob, id, fault.NotFound, "there is no job")
		}
		j, _ := r.Get(alice, failed)
		if err := j.Info().Err; err == nil || err.Code != fault.InvalidArgument || err.Message != "no" {
			t.Errorf("got %v", err)
		}
		if all, areAll := r.List(alice); len(all) != 3 || !areAll {
			t.Errorf("%d jobs are listed, want 3", len(all))
		}
		if all, _ := r.List(bob); len(all) != 0 {
			t.Errorf("%d jobs are listed to another", len(all))
		}
		time.Sleep(2 * time.Hour) // in each bubble the clock begins anew
		fails(t, r, alice, done, fault.NotFound, "is not kept any more")
	})
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(2 * time.Hour)
		r := jobs.New(jobs.Options{Dir: dir})
		defer r.Close()
		if got := files(t, dir, ""); len(got) != 1 || !strings.HasSuffix(got[0], ".lock") {
			t.Errorf("%q are left after their time", got)
		}
	})
	if got := files(t, dir, ""); len(got) != 0 {
		t.Errorf("%q are left at the end", got)
	}
}

func TestJobThatIsStillWorkedOnIsFoundInItsOwnProcessOnly(t *testing.T) {
	dir := t.TempDir()
	story(t, jobs.Options{Dir: dir}, func(t *testing.T, one *jobs.Registry) {
		j := keep(t, one, alice, lasting(time.Minute, `"done"`))
		id := j.Info().ID
		inPart := one.Start(t.Context(), jobs.Spec{Tool: "map"}, lasting(time.Minute, `"done"`))
		if err := inPart.Keep(alice); err != nil {
			t.Fatal(err)
		}
		other := jobs.New(jobs.Options{Dir: dir})
		defer other.Close()
		fails(t, other, alice, id, fault.NotFound, "is worked on by another server")
		fails(t, other, bob, id, fault.NotFound, "there is no job")
		afterCrash := jobs.New(jobs.Options{Dir: crash(t, dir)})
		defer afterCrash.Close()
		for range 2 {
			lost, err := afterCrash.Get(alice, id)
			if err != nil {
				t.Fatal(err)
			}
			<-lost.Ended()
			expect(t, lost, jobs.Failed, "")
			if e := lost.Info().Err; e == nil || !e.Retryable || !strings.Contains(e.Error(), "ended with the server that ran it; call the tool again") {
				t.Errorf("got %v", e)
			}
		}
		lost, err := afterCrash.Get(alice, inPart.Info().ID)
		if err != nil {
			t.Fatal(err)
		}
		if e := lost.Info().Err; e == nil || !strings.Contains(e.Hint, "those that have an answer are not asked again") {
			t.Errorf("a map that was lost says %v", e)
		}
		<-j.Ended()
		got, err := other.Get(alice, id)
		if err != nil {
			t.Fatal(err)
		}
		expect(t, got, jobs.Done, `"done"`)
	})
}

func TestJobsThatMakeRoomOrExpireLeaveTheDirectory(t *testing.T) {
	dir := t.TempDir()
	story(t, jobs.Options{Dir: dir, PerOwner: 1, TTL: time.Minute}, func(t *testing.T, r *jobs.Registry) {
		<-keep(t, r, alice, lasting(0, `1`)).Ended()
		<-keep(t, r, alice, lasting(0, `2`)).Ended()
		synctest.Wait()
		if got := files(t, dir, ".result"); len(got) != 1 {
			t.Errorf("%q are there, want that of one job", got)
		}
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		if got := files(t, dir, ".result"); len(got) != 0 {
			t.Errorf("%q are there after their time", got)
		}
	})
}

func TestDirectoryThatCannotBeUsedIsLoggedAndJobsAreKeptInMemory(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	gone := filepath.Join(t.TempDir(), "jobs")
	if err := os.Mkdir(gone, 0o700); err != nil {
		t.Fatal(err)
	}
	for name, dir := range map[string]string{"is a file": file, "is not there": filepath.Join(file, "x"), "goes": gone} {
		t.Run(name, func(t *testing.T) {
			var log bytes.Buffer
			story(t, jobs.Options{Dir: dir, Log: slog.New(slog.NewTextHandler(&log, nil))}, func(t *testing.T, r *jobs.Registry) {
				if err := os.RemoveAll(gone); err != nil {
					t.Fatal(err)
				}
				j := keep(t, r, alice, lasting(time.Second, `"done"`))
				<-j.Ended()
				found, err := r.Get(alice, j.Info().ID)
				if err != nil {
					t.Fatal(err)
				}
				expect(t, found, jobs.Done, `"done"`)
				fails(t, r, alice, "abcdef-abcdefghijklmnopqrstuvwxyz", fault.NotFound, "ended with the server")
				r.List(alice)
			})
			if !strings.Contains(log.String(), "level=WARN") || !strings.Contains(log.String(), "--state-dir") {
				t.Errorf("the log has %q", log.String())
			}
		})
	}
}

func TestFilesThatMakeNoSenseAreNoJobs(t *testing.T) {
	dir := t.TempDir()
	const id = "abcdef-abcdefghijklmnopqrstuvwxyz"
	outside := filepath.Join(dir, "outside.job")
	for _, name := range []string{filepath.Join(dir, "jobs", id+".job"), outside} {
		if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte("{"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(outside, must(json.Marshal(map[string]any{"Owner": alice, "State": "done", "Expires": time.Now().AddDate(100, 0, 0)})), 0o600); err != nil {
		t.Fatal(err)
	}
	story(t, jobs.Options{Dir: filepath.Join(dir, "jobs")}, func(t *testing.T, r *jobs.Registry) {
		fails(t, r, alice, id, fault.NotFound, "ended with the server")
		for _, id := range []string{"../outside", "..", "/etc/passwd", id + "/../../outside", "abcdef-\x00"} {
			fails(t, r, alice, id, fault.NotFound, "there is no job")
		}
	})
	if _, err := os.Stat(outside); err != nil {
		t.Error(err)
	}
}

func must[T any](value T, err error) T {
	if err != nil {
		panic(err)
	}
	return value
}
