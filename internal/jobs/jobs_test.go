package jobs_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"ollama-mcp/internal/caller"
	"ollama-mcp/internal/fault"
	"ollama-mcp/internal/jobs"
)

var alice, bob = jobs.Owner{Account: "alice", Private: true}, jobs.Owner{Account: "bob", Private: true}

// story runs a test in which time is faked, with a registry of its own.
func story(t *testing.T, o jobs.Options, tell func(t *testing.T, r *jobs.Registry)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		r := jobs.New(o)
		defer r.Close()
		tell(t, r)
	})
}

// lasting is work that lasts for a time, or until it is cancelled. It lasts a nanosecond at least:
// virtual time passes only while the test waits, so the job is kept before its work ends.
func lasting(d time.Duration, result string) func(context.Context) func() jobs.Outcome {
	return func(ctx context.Context) func() jobs.Outcome {
		select {
		case <-time.After(max(d, 1)):
			return func() jobs.Outcome { return jobs.Outcome{Result: json.RawMessage(result)} }
		case <-ctx.Done():
			cause := context.Cause(ctx).Error()
			return func() jobs.Outcome {
				return jobs.Outcome{Result: json.RawMessage(fmt.Sprintf("%q", cause)), Failed: true}
			}
		}
	}
}

// keep starts work of an owner and keeps it.
func keep(t *testing.T, r *jobs.Registry, who jobs.Owner, work func(context.Context) func() jobs.Outcome) *jobs.Job {
	t.Helper()
	j := r.Start(t.Context(), jobs.Spec{Tool: "generate"}, work)
	if err := j.Keep(who); err != nil {
		t.Fatal(err)
	}
	return j
}

// expect fails unless the job is in a state, with a result.
func expect(t *testing.T, j *jobs.Job, state jobs.State, result string) {
	t.Helper()
	if info := j.Info(); info.State != state || string(info.Result) != result {
		t.Errorf("the job is %s with %s, want %s with %s", info.State, info.Result, state, result)
	}
}

// fails fails unless an owner is refused a job, for this reason.
func fails(t *testing.T, r *jobs.Registry, who jobs.Owner, id string, code fault.Code, words string) {
	t.Helper()
	_, err := r.Get(who, id)
	if err == nil {
		t.Errorf("%s gets job %s, want an error with %q", who.Account, id, words)
		return
	}
	if e := fault.Of(err); e.Code != code || !strings.Contains(e.Error(), words) {
		t.Errorf("%s: got %s %q, want %s with %q", id, e.Code, e.Error(), code, words)
	}
}

func TestJobsOfRevokedCallersAreCancelled(t *testing.T) {
	story(t, jobs.Options{}, func(t *testing.T, r *jobs.Registry) {
		revoked := false
		of := func(name string, valid func() bool) *jobs.Job {
			ctx := caller.NewContext(t.Context(), caller.Caller{ID: name, Valid: valid})
			j := r.Start(ctx, jobs.Spec{Tool: "generate"}, lasting(time.Minute, `"done"`))
			if err := j.Keep(jobs.Owner{Account: name, Private: true}); err != nil {
				t.Fatal(err)
			}
			return j
		}
		hers, his := of("alice", func() bool { return !revoked }), of("bob", func() bool { return true })
		r.CancelRevoked()
		synctest.Wait()
		expect(t, hers, jobs.Running, "")
		revoked = true
		r.CancelRevoked()
		synctest.Wait()
		expect(t, hers, jobs.Cancelled, `"`+caller.ErrRevoked.Error()+`"`)
		expect(t, his, jobs.Running, "")
		time.Sleep(2 * time.Minute)
		expect(t, his, jobs.Done, `"done"`)
	})
}

func TestWorkThatIsNotKeptEndsWithItsRequest(t *testing.T) {
	story(t, jobs.Options{}, func(t *testing.T, r *jobs.Registry) {
		ctx, leave := context.WithCancelCause(t.Context())
		var got error
		j := r.Start(ctx, jobs.Spec{}, func(ctx context.Context) func() jobs.Outcome {
			<-ctx.Done()
			got = context.Cause(ctx)
			return nil // which would be called if it were kept
		})
		gone := errors.New("the client has left")
		leave(gone)
		<-j.Ended()
		if !errors.Is(got, gone) {
			t.Errorf("the work ended with %v, want the cause of its request's end", got)
		}
		if err := j.Keep(alice); !errors.Is(err, jobs.ErrEnded) {
			t.Errorf("it is kept after its end: %v", err)
		}
	})
}

func TestWorkThatIsKeptOutlastsItsRequestWithItsValues(t *testing.T) {
	type key struct{}
	story(t, jobs.Options{}, func(t *testing.T, r *jobs.Registry) {
		ctx, leave := context.WithCancel(context.WithValue(t.Context(), key{}, "alice"))
		j := r.Start(ctx, jobs.Spec{}, func(ctx context.Context) func() jobs.Outcome {
			time.Sleep(time.Minute)
			return lasting(0, fmt.Sprintf("%q", ctx.Value(key{})))(ctx)
		})
		if err := j.Keep(alice); err != nil {
			t.Fatal(err)
		}
		leave()
		expect(t, j, jobs.Running, "")
		<-j.Ended()
		expect(t, j, jobs.Done, `"alice"`)
	})
}

func TestResultIsKeptForItsTimeOnly(t *testing.T) {
	story(t, jobs.Options{TTL: time.Minute}, func(t *testing.T, r *jobs.Registry) {
		id := keep(t, r, alice, lasting(time.Hour, `"done"`)).Info().ID
		time.Sleep(time.Hour + 59*time.Second)
		j, err := r.Get(alice, " "+strings.ToUpper(id)+"\n") // as a model may copy it
		if err != nil {
			t.Fatal(err)
		}
		expect(t, j, jobs.Done, `"done"`)
		time.Sleep(time.Second + 1)
		fails(t, r, alice, id, fault.NotFound, "is not kept any more; call the tool again")
		fails(t, r, bob, id, fault.NotFound, "there is no job")
		if n := r.Len(); n != 0 {
			t.Errorf("%d jobs are left", n)
		}
	})
}

func TestCancelledJobEndsAndKeepsWhatThereIs(t *testing.T) {
	story(t, jobs.Options{}, func(t *testing.T, r *jobs.Registry) {
		j := keep(t, r, alice, lasting(time.Hour, `"done"`))
		j.Cancel()
		<-j.Ended()
		expect(t, j, jobs.Cancelled, fmt.Sprintf("%q", jobs.ErrCancelled))
		quick := keep(t, r, alice, func(ctx context.Context) func() jobs.Outcome {
			<-ctx.Done()
			return lasting(0, `"done"`)(t.Context())
		})
		quick.Cancel()
		<-quick.Ended()
		expect(t, quick, jobs.Done, `"done"`) // nothing is lost
	})
}

func TestJobsBelongToTheirOwners(t *testing.T) {
	story(t, jobs.Options{}, func(t *testing.T, r *jobs.Registry) {
		session := jobs.Owner{Account: "10.0.0.1", Session: "s1"}
		for _, c := range []struct {
			name                 string
			owner, other         jobs.Owner
			getsIt, isListedToIt bool
		}{
			{"the owner", alice, alice, true, true},
			{"another", alice, bob, false, false},
			{"the session", session, session, true, true},
			{"the session, from another address", session, jobs.Owner{Account: "10.0.0.2", Session: "s1"}, true, true},
			{"another session at the address", session, jobs.Owner{Account: "10.0.0.1", Session: "s2"}, true, false},
			{"another address without a session", session, jobs.Owner{Account: "10.0.0.2"}, false, false},
			{"no session, and the same address", jobs.Owner{Account: "10.0.0.3"}, jobs.Owner{Account: "10.0.0.3"}, true, false},
		} {
			j := keep(t, r, c.owner, lasting(time.Second, `1`))
			_, err := r.Get(c.other, j.Info().ID)
			if (err == nil) != c.getsIt {
				t.Errorf("%s: got error %v, want the job: %v", c.name, err, c.getsIt)
			}
			listed := false
			all, _ := r.List(c.other)
			for _, l := range all {
				listed = listed || l == j
			}
			if listed != c.isListedToIt {
				t.Errorf("%s: listed %v, want %v", c.name, listed, c.isListedToIt)
			}
			<-j.Ended()
		}
	})
}

func TestHandleThatIsNoneIsRefusedWithAReason(t *testing.T) {
	other := jobs.New(jobs.Options{})
	story(t, jobs.Options{}, func(t *testing.T, r *jobs.Registry) {
		stray := keep(t, other, alice, lasting(0, `1`)).Info().ID
		fails(t, r, alice, stray, fault.NotFound, "ended with the server that ran it; call the tool again")
		for _, id := range []string{"", "job", "a-b", strings.Repeat("x", 1000), "abcdef-\n"} {
			fails(t, r, alice, id, fault.NotFound, "there is no job")
			if _, err := r.Get(alice, id); len(err.Error()) > 400 || strings.Contains(err.Error(), "\n") {
				t.Errorf("%q: the error is %q", id, err)
			}
		}
		other.Close()
	})
}

func TestJobsOfAnOwnerAreBoundedInNumberAndBytes(t *testing.T) {
	story(t, jobs.Options{PerOwner: 2, BytesPerOwner: 10}, func(t *testing.T, r *jobs.Registry) {
		first := keep(t, r, alice, lasting(time.Second, `"1"`))
		second := keep(t, r, alice, lasting(time.Hour, `"12345678"`))
		time.Sleep(2 * time.Second)
		other := keep(t, r, bob, lasting(0, `"b"`)) // who has room of his own
		third := keep(t, r, alice, lasting(time.Minute, `"3"`))
		fails(t, r, alice, first.Info().ID, fault.NotFound, "is not kept any more") // it had ended
		fourth := r.Start(t.Context(), jobs.Spec{}, lasting(time.Minute, `"4"`))
		if err := fourth.Keep(alice); err == nil || fault.Of(err).Code != fault.Overloaded || !strings.Contains(fault.Of(err).Error(), "2 of yours have not ended") {
			t.Errorf("a third job that has not ended: got %v", err)
		}
		<-fourth.Ended() // it goes on as before
		<-third.Ended()
		expect(t, third, jobs.Done, `"3"`)
		<-second.Ended() // whose 10 bytes leave none for the third
		expect(t, second, jobs.Done, `"12345678"`)
		fails(t, r, alice, third.Info().ID, fault.NotFound, "is not kept any more")
		expect(t, other, jobs.Done, `"b"`)
		large := keep(t, r, alice, lasting(0, `"12345678+"`))
		<-large.Ended()
		expect(t, large, jobs.Failed, "")
		if err := large.Info().Err; err.Error() != "the result of 11 bytes is larger than the 10 bytes that are kept of a caller's jobs; ask for less" {
			t.Errorf("got %v", err)
		}
	})
}

func TestArgumentsOfJobsCountUntilTheyHaveEnded(t *testing.T) {
	story(t, jobs.Options{BytesPerOwner: 10}, func(t *testing.T, r *jobs.Registry) {
		start := func(size int) error {
			return r.Start(t.Context(), jobs.Spec{Size: size}, lasting(time.Minute, `1`)).Keep(alice)
		}
		if err := errors.Join(start(4), start(6)); err != nil {
			t.Fatal(err)
		}
		if err := start(1); err == nil {
			t.Error("11 bytes of arguments are held of 10")
		}
		time.Sleep(2 * time.Minute)
		if err := start(8); err != nil {
			t.Error(err)
		}
	})
}

// Whoever has most makes room when all jobs together are too many.
func TestJobsOfAllAreBoundedAndNobodyPushesOutThoseOfOthers(t *testing.T) {
	story(t, jobs.Options{Total: 4}, func(t *testing.T, r *jobs.Registry) {
		his := keep(t, r, bob, lasting(0, `"bob"`))
		<-his.Ended()
		for range 10 {
			<-keep(t, r, alice, lasting(0, `"a"`)).Ended()
		}
		if n := r.Len(); n != 4 {
			t.Errorf("%d jobs are kept, want 4", n)
		}
		if _, err := r.Get(bob, his.Info().ID); err != nil {
			t.Error(err)
		}
	})
}

func TestProgressOfAJobIsTold(t *testing.T) {
	story(t, jobs.Options{}, func(t *testing.T, r *jobs.Registry) {
		at := jobs.Progress{Queued: true, Position: 3, Expected: time.Minute}
		j := r.Start(t.Context(), jobs.Spec{}, lasting(time.Minute, `1`))
		j.Reports(func() jobs.Progress { return at })
		if err := j.Keep(alice); err != nil {
			t.Fatal(err)
		}
		if info := j.Info(); info.State != jobs.Queued || info.Position != 3 || info.Expected != time.Minute {
			t.Errorf("got %+v, want the third in the queue", info)
		}
		at = jobs.Progress{Partial: "so far"}
		if info := j.Info(); info.State != jobs.Running || info.Partial != "so far" {
			t.Errorf("got %+v, want the text so far", info)
		}
		<-j.Ended()
		if info := j.Info(); info.Partial != "" {
			t.Errorf("got %+v after its end", info)
		}
	})
}

func TestCloseEndsAllJobsAndLetsNoneBegin(t *testing.T) {
	story(t, jobs.Options{}, func(t *testing.T, r *jobs.Registry) {
		var cause error
		keep(t, r, alice, func(ctx context.Context) func() jobs.Outcome {
			<-ctx.Done()
			time.Sleep(time.Second) // it takes a moment to end
			cause = context.Cause(ctx)
			return lasting(0, `1`)(t.Context())
		})
		late := r.Start(t.Context(), jobs.Spec{}, lasting(time.Minute, `1`))
		r.Close()
		if !errors.Is(cause, jobs.ErrStopped) {
			t.Errorf("when Close returned, the work had ended with %v", cause)
		}
		if err := late.Keep(alice); !errors.Is(err, jobs.ErrEnded) {
			t.Errorf("a job is kept after Close: %v", err)
		}
	})
}

func TestWorkAsksItsOwnerAndGoesOnWhenAllIsAnswered(t *testing.T) {
	story(t, jobs.Options{}, func(t *testing.T, r *jobs.Registry) {
		j := keep(t, r, alice, func(ctx context.Context) func() jobs.Outcome {
			answers, err := jobs.FromContext(ctx).Ask(ctx, map[string]json.RawMessage{"name": json.RawMessage(`"who?"`), "age": json.RawMessage(`"how old?"`)})
			if err != nil {
				t.Error(err)
			}
			return lasting(0, string(answers["name"])+string(answers["age"]))(ctx)
		})
		synctest.Wait()
		open := func(want string) {
			t.Helper()
			if got := fmt.Sprintf("%s", j.Info().Asking); got != want {
				t.Errorf("open is %s, want %s", got, want)
			}
		}
		open(`map[age:"how old?" name:"who?"]`)
		j.Answer(map[string]json.RawMessage{"age": json.RawMessage(`7`), "size": json.RawMessage(`2`)})
		open(`map[name:"who?"]`)
		j.Answer(map[string]json.RawMessage{"age": json.RawMessage(`8`)}) // too late
		j.Answer(map[string]json.RawMessage{"name": json.RawMessage(`5`)})
		<-j.Ended()
		expect(t, j, jobs.Done, `57`)
		open(`map[]`)
		j.Answer(map[string]json.RawMessage{"name": json.RawMessage(`6`)})

		waiting := keep(t, r, alice, func(ctx context.Context) func() jobs.Outcome {
			_, err := jobs.FromContext(ctx).Ask(ctx, map[string]json.RawMessage{"name": nil})
			if !errors.Is(err, jobs.ErrCancelled) {
				t.Errorf("got %v", err)
			}
			return lasting(time.Hour, `1`)(ctx)
		})
		synctest.Wait()
		waiting.Cancel()
		<-waiting.Ended()
		if s := waiting.Info().State; s != jobs.Cancelled {
			t.Errorf("the job is %s", s)
		}
	})
}

func TestSpareGoroutinesEndWithTheRegistry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // which fails if a goroutine is left
		r := jobs.New(jobs.Options{Spare: 2})
		for range 3 {
			j := r.Start(t.Context(), jobs.Spec{}, lasting(time.Second, `1`))
			<-j.Ended()
			synctest.Wait()
		}
		r.Close()
		j := r.Start(t.Context(), jobs.Spec{}, lasting(time.Second, `1`))
		<-j.Ended()
	})
}

func TestJobsAreCountedAndTheOldestUnderwayTellsItsAge(t *testing.T) {
	story(t, jobs.Options{}, func(t *testing.T, r *jobs.Registry) {
		if got := r.Counts(); got != (jobs.Counts{}) {
			t.Errorf("without jobs: got %+v", got)
		}
		old := keep(t, r, alice, lasting(time.Hour, `"old"`))
		keep(t, r, bob, lasting(time.Second, `"done"`))
		time.Sleep(time.Minute)
		keep(t, r, alice, lasting(time.Hour, `"young"`))
		if got := r.Counts(); got != (jobs.Counts{Underway: 2, Ended: 1, Oldest: time.Minute}) {
			t.Errorf("got %+v, want two underway for a minute at most, and one that has ended", got)
		}
		old.Cancel()
		<-old.Ended()
		if got := r.Counts(); got != (jobs.Counts{Underway: 1, Ended: 2}) {
			t.Errorf("once the oldest was cancelled: got %+v", got)
		}
	})
}
