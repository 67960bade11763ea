package redis

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"ollama-mcp/internal/fault"
	"ollama-mcp/internal/jobs"
)

var (
	ann = jobs.Owner{Account: "key ann", Private: true, Authenticated: true}
	bob = jobs.Owner{Account: "key bob", Private: true, Authenticated: true}
)

// teller is a replica that keeps jobs.
type teller struct {
	*Client
	jobs *jobs.Registry
	die  func() // as a process that is killed
}

// twoTelling starts two replicas that keep jobs.
func (w *world) twoTelling(o jobs.Options, change ...func(*Options)) (a, b *teller) {
	all := w.telling(2, o, change...)
	return all[0], all[1]
}

// telling starts replicas that keep jobs.
func (w *world) telling(n int, o jobs.Options, change ...func(*Options)) (all []*teller) {
	for range n {
		c, stop := w.replica(change...)
		own := o
		own.Shared = c
		r := &teller{Client: c, jobs: jobs.New(own)}
		life, cancel := context.WithCancel(context.Background())
		var work sync.WaitGroup
		work.Go(func() { r.jobs.Share(life) })
		r.die = sync.OnceFunc(func() {
			stop()
			cancel()
			work.Wait()
		})
		w.t.Cleanup(func() {
			r.jobs.Close()
			r.die()
		})
		all = append(all, r)
	}
	time.Sleep(3 * time.Second) // until all have heard of each other
	return all
}

// begin begins a job that takes some time, unless it is cancelled.
func (r *teller) begin(t *testing.T, who jobs.Owner, takes time.Duration, result string) *jobs.Job {
	t.Helper()
	j := r.jobs.Start(t.Context(), jobs.Spec{Tool: "generate"}, func(ctx context.Context) func() jobs.Outcome {
		timer := time.NewTimer(max(takes, 1))
		defer timer.Stop()
		select {
		case <-timer.C:
			return func() jobs.Outcome { return jobs.Outcome{Result: json.RawMessage(result)} }
		case <-ctx.Done():
			return func() jobs.Outcome { return jobs.Outcome{Result: json.RawMessage(`"cut"`), Failed: true} }
		}
	})
	if err := j.Keep(who); err != nil {
		t.Fatal(err)
	}
	return j
}

// stands fails unless an owner is told by a replica that a job is in a state, with a result.
func (r *teller) stands(t *testing.T, who jobs.Owner, id string, state jobs.State, result string) *jobs.Job {
	t.Helper()
	j, err := r.jobs.Get(who, id)
	if err != nil {
		t.Fatal(err)
	}
	if info := j.Info(); info.State != state || string(info.Result) != result || info.ID != id || info.Tool != "generate" {
		t.Errorf("the job is %s with %s, want %s with %s", info.State, info.Result, state, result)
	}
	return j
}

// wait waits for a job to end, but not for ever.
func wait(t *testing.T, j *jobs.Job) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	j.Wait(ctx)
}

// refuses fails unless an owner is refused a job by a replica, for this reason.
func (r *teller) refuses(t *testing.T, who jobs.Owner, id string, retryable bool, words string) {
	t.Helper()
	_, err := r.jobs.Get(who, id)
	if err == nil {
		t.Errorf("%s has got job %s, want an error with %q", who.Account, id, words)
		return
	}
	if e := fault.Of(err); e.Code != fault.NotFound || e.Retryable != retryable || !strings.Contains(e.Error(), words) {
		t.Errorf("got %+v, want an error with %q that is retryable: %v", e, words, retryable)
	}
}

// listed are the handles of the jobs that an owner is listed by a replica.
func (r *teller) listed(who jobs.Owner) (text string) {
	all, areAll := r.jobs.List(who)
	for _, j := range all {
		text += j.Info().ID + " "
	}
	return fmt.Sprint(text, areAll)
}

func TestJobOfOneReplicaIsToldByTheOthersToItsOwnerOnly(t *testing.T) {
	for name, key := range map[string][]byte{"open": nil, "sealed": []byte("a secret of more than 32 bytes, for a test")} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				a, b := w.twoTelling(jobs.Options{}, func(o *Options) { o.SealKey = key })
				job := a.begin(t, ann, 10*time.Second, `"a secret"`)
				job.Reports(func() jobs.Progress { return jobs.Progress{Queued: true, Position: 3, Message: "queued"} })
				id := job.Info().ID
				b.stands(t, ann, id, jobs.Running, "") // at once
				time.Sleep(2 * time.Second)
				far := b.stands(t, ann, id, jobs.Queued, "")
				if info := far.Info(); info.Position != 3 || info.Message != "queued" || !info.Created.Equal(job.Info().Created) {
					t.Errorf("got %+v, want that it is the third in the queue", info)
				}
				job.Reports(func() jobs.Progress { return jobs.Progress{Partial: strings.Repeat("so ", 10000) + "far"} })
				time.Sleep(2 * time.Second)
				if partial := b.stands(t, ann, id, jobs.Running, "").Info().Partial; !strings.HasSuffix(partial, "so far") || len(partial) > 8<<10 {
					t.Errorf("got %d bytes of the text so far, want the end of it", len(partial))
				}
				if got, want := b.listed(ann), id+" true"; got != want {
					t.Errorf("the jobs listed are %s, want %s", got, want)
				}
				if got := b.listed(bob); got != "true" {
					t.Errorf("bob is listed %s", got)
				}
				b.refuses(t, bob, id, false, "there is no job")

				began := time.Now()
				wait(t, far)
				if took := time.Since(began); took > 7*time.Second {
					t.Errorf("the end was heard after %v, want 6s", took)
				}
				b.stands(t, ann, id, jobs.Done, `"a secret"`)
				if info := far.Info(); info.State != jobs.Done || string(info.Result) != `"a secret"` || info.Expires.IsZero() {
					t.Errorf("who has waited got %+v", info)
				}
				b.refuses(t, bob, id, false, "there is no job")
				if text := w.server.Dump(); key != nil && (strings.Contains(text, "a secret") || strings.Contains(text, id) || strings.Contains(text, "ann")) {
					t.Errorf("the job is not sealed:\n%s", text)
				}
				w.server.FastForward(2 * time.Hour)
				b.refuses(t, ann, id, false, "is not kept any more")
			})
		})
	}
}

func TestJobIsCancelledThroughAnotherReplicaByItsOwnerOnly(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		a, b := w.twoTelling(jobs.Options{})
		id := a.begin(t, ann, time.Hour, `"done"`).Info().ID
		b.refuses(t, bob, id, false, "there is no job")
		far := b.stands(t, ann, id, jobs.Running, "")
		if err := far.Cancel(); err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		wait(t, far)
		if took := time.Since(began); took > 3*time.Second {
			t.Errorf("it ended after %v", took)
		}
		for _, r := range []*teller{a, b} {
			r.stands(t, ann, id, jobs.Cancelled, `"cut"`)
		}
		if err := far.Cancel(); err != nil { // does nothing any more
			t.Error(err)
		}

		// What a replica is asked counts for jobs of the owner in whose name it is asked.
		his := a.begin(t, bob, time.Hour, `"done"`).Info().ID
		forged, _ := json.Marshal(map[string]any{"Owner": ann, "ID": his, "Cancel": true})
		if !b.AskReplica(a.id, "cancel", forged) {
			t.Fatal("not asked")
		}
		time.Sleep(5 * time.Second)
		a.stands(t, bob, his, jobs.Running, "")
	})
}

func TestQuestionsOfAJobAreAnsweredThroughAnotherReplica(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		a, b := w.twoTelling(jobs.Options{})
		job := a.jobs.Start(t.Context(), jobs.Spec{Tool: "generate"}, func(ctx context.Context) func() jobs.Outcome {
			answers, err := jobs.FromContext(ctx).Ask(ctx, map[string]json.RawMessage{"name": json.RawMessage(`"who?"`), "age": json.RawMessage(`"how old?"`)})
			if err != nil {
				t.Error(err)
			}
			return func() jobs.Outcome {
				return jobs.Outcome{Result: json.RawMessage(string(answers["name"]) + string(answers["age"]))}
			}
		})
		if err := job.Keep(ann); err != nil {
			t.Fatal(err)
		}
		id := job.Info().ID
		for _, answers := range []map[string]json.RawMessage{{"age": json.RawMessage(`7`), "size": json.RawMessage(`2`)}, {"name": json.RawMessage(`5`)}} {
			time.Sleep(3 * time.Second)
			far := b.stands(t, ann, id, jobs.Running, "")
			open := far.Info().Asking
			for name := range answers {
				if _, isOpen := open[name]; !isOpen && name != "size" {
					t.Errorf("open is %s, want %s among it", open, name)
				}
			}
			if err := far.Answer(answers); err != nil {
				t.Error(err)
			}
		}
		time.Sleep(3 * time.Second)
		b.stands(t, ann, id, jobs.Done, `57`)
	})
}

func TestJobsOfAReplicaThatDiesEndInAnErrorThatIsRetryable(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		a, b := w.twoTelling(jobs.Options{})
		finished := a.begin(t, ann, time.Second, `"done"`).Info().ID
		working := a.begin(t, ann, time.Hour, `"never"`).Info().ID
		time.Sleep(3 * time.Second)
		waiting := b.stands(t, ann, working, jobs.Running, "")
		a.die()
		time.Sleep(2 * time.Second)
		b.stands(t, ann, working, jobs.Running, "") // it may be slow
		wait(t, waiting)
		late := w.telling(1, jobs.Options{})[0]
		time.Sleep(goneAfter)
		for _, r := range []*teller{b, late} {
			r.stands(t, ann, finished, jobs.Done, `"done"`)
			info := r.stands(t, ann, working, jobs.Failed, "").Info()
			if e := info.Err; e == nil || e.Code != fault.Cancelled || !e.Retryable || !strings.Contains(e.Error(), "ended with the server that ran it") || !strings.Contains(e.Hint, "call the tool again") {
				t.Errorf("got %+v, want that the job ended with its server", e)
			}
			if info.Ended.IsZero() || info.Expires.IsZero() {
				t.Errorf("got %+v, want when it ended", info)
			}
			r.refuses(t, bob, working, false, "there is no job")
		}
		if info := waiting.Info(); info.State != jobs.Failed {
			t.Errorf("who has waited got %+v", info)
		}
		if err := waiting.Cancel(); err != nil {
			t.Errorf("to cancel it then: %v", err)
		}
	})
}

func TestJobsOfAReplicaThatEndsInGoodOrderAreToldAfterwards(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		a, b := w.twoTelling(jobs.Options{})
		id := a.begin(t, ann, time.Hour, `"never"`).Info().ID
		a.jobs.Close()
		a.die()
		b.stands(t, ann, id, jobs.Failed, `"cut"`)
	})
}

func TestReplicasGoOnWithTheirOwnJobsWithoutRedis(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		a, b := w.twoTelling(jobs.Options{})
		first := a.begin(t, ann, 30*time.Second, `"first"`).Info().ID
		far := b.stands(t, ann, first, jobs.Running, "")
		w.swallows.Store(true)
		second := a.begin(t, ann, 20*time.Second, `"second"`).Info().ID
		b.refuses(t, ann, first, true, "cannot be reached now; try again")
		b.refuses(t, ann, second, true, "cannot be reached now; try again")
		if e := fault.Of(far.Cancel()); !e.Retryable || !strings.Contains(e.Error(), "cannot be reached now; try again") {
			t.Errorf("to cancel it: got %+v", e)
		}
		a.stands(t, ann, first, jobs.Running, "")
		a.stands(t, ann, second, jobs.Running, "")
		b.refuses(t, ann, "nonsense", false, "there is no job")
		if got := b.listed(ann); got != "false" {
			t.Errorf("the jobs listed are %s, want none, and that they are not all", got)
		}
		began := time.Now()
		for range 100 {
			b.refuses(t, ann, first, true, "cannot be reached now")
		}
		if took := time.Since(began); took > 0 {
			t.Errorf("to ask for it 100 times more took %v", took)
		}
		time.Sleep(time.Minute)
		a.stands(t, ann, second, jobs.Done, `"second"`)
		w.swallows.Store(false)
		time.Sleep(8 * time.Second)
		b.stands(t, ann, first, jobs.Done, `"first"`)
		b.stands(t, ann, second, jobs.Done, `"second"`)
		wait(t, far)
		if state := far.Info().State; state != jobs.Done {
			t.Errorf("the job is %s for who has waited", state)
		}
	})
}

func TestJobsAreToldAnewToARedisThatHasLostItsMemory(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		a, b := w.twoTelling(jobs.Options{})
		finished := a.begin(t, ann, time.Second, `"done"`).Info().ID
		working := a.begin(t, ann, time.Hour, `"never"`).Info().ID
		time.Sleep(3 * time.Second)
		w.server.FlushAll()
		time.Sleep(3 * time.Second)
		b.stands(t, ann, finished, jobs.Done, `"done"`)
		b.stands(t, ann, working, jobs.Running, "")
		if got := b.listed(ann); !strings.Contains(got, finished) || !strings.Contains(got, working) {
			t.Errorf("the jobs listed are %s, want both", got)
		}
	})
}

func TestJobsThatMakeRoomAreForgottenByAllReplicas(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		a, b := w.twoTelling(jobs.Options{PerOwner: 1, TTL: time.Minute})
		first := a.begin(t, ann, 0, `"1"`).Info().ID
		time.Sleep(time.Second)
		second := a.begin(t, ann, 0, `"2"`).Info().ID
		synctest.Wait()
		b.refuses(t, ann, first, false, "is not kept any more")
		if got, want := b.listed(ann), second+" true"; got != want {
			t.Errorf("the jobs listed are %s, want %s", got, want)
		}
		time.Sleep(2 * time.Minute)
		for _, key := range w.server.Keys() {
			if strings.Contains(key, ":job") {
				t.Errorf("%s is left after the time of the jobs", key)
			}
		}
	})
}

func TestResultThatIsTooLargeToBeSharedIsSaidToBe(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		a, b := w.twoTelling(jobs.Options{})
		random := make([]byte, 2*maxRecord)
		_, _ = rand.Read(random)
		result := `"` + hex.EncodeToString(random) + `"`
		id := a.begin(t, ann, time.Second, result).Info().ID
		time.Sleep(3 * time.Second)
		a.stands(t, ann, id, jobs.Done, result)
		b.refuses(t, ann, id, true, "too large to be had from another server")
		if got, want := b.listed(ann), id+" true"; got != want {
			t.Errorf("the jobs listed are %s, want %s", got, want)
		}
		if n := a.State().TooLarge; n != 1 {
			t.Errorf("%d results were too large, want 1", n)
		}
	})
}

func TestWhatMakesNoSenseIsNoJob(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		a, b := w.twoTelling(jobs.Options{})
		id := a.begin(t, ann, time.Second, `"done"`).Info().ID
		time.Sleep(3 * time.Second)
		key := b.keyOfJob(id)
		good, err := w.server.Get(key)
		if err != nil {
			t.Fatal(err)
		}
		other := strings.Repeat("a", len(id)-26) + strings.Repeat("b", 26)
		other = other[:6] + "-" + other[7:]
		for name, value := range map[string]string{"another's": "{}", "newer": "\x02" + good[1:], "cut": good[:20], "no JSON": good[:len(good)-10]} {
			_ = w.server.Set(key, value)
			if _, err := b.jobs.Get(ann, id); err == nil {
				t.Errorf("%s: it is a job", name)
			}
			a.stands(t, ann, id, jobs.Done, `"done"`)
		}
		w.server.Del(key)
		w.server.SetAdd(key, "a set")
		b.refuses(t, ann, id, false, "is not kept any more")
		w.server.Del(b.keyOfList("key ann"))
		_ = w.server.Set(b.keyOfList("key ann"), "no hash")
		if got := b.listed(ann); got != "true" {
			t.Errorf("the jobs listed are %s", got)
		}
		b.refuses(t, ann, other, false, "is not kept any more")
		for _, id := range []string{"", "x", "../" + id, id + "x"} {
			b.refuses(t, ann, id, false, "there is no job")
		}
		if b.State().Unreadable == 0 {
			t.Error("nothing was said of it")
		}
	})
}

func TestOwnJobsAreToldWithoutAskingRedis(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		a := w.telling(1, jobs.Options{})[0]
		id := a.begin(t, ann, time.Hour, `"never"`).Info().ID
		synctest.Wait()
		before := w.server.CommandCount()
		for range 1000 {
			if a.jobs.Underway(ann, id) == nil {
				t.Fatal("the job is not found")
			}
			a.stands(t, ann, id, jobs.Running, "")
			a.refuses(t, bob, id, false, "there is no job")
		}
		if n := w.server.CommandCount() - before; n != 0 {
			t.Errorf("Redis had %d commands", n)
		}
	})
}

func TestSessionFindsItsJobsOnAnotherReplicaAndNoOtherClientIsListedThem(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		a, b := w.twoTelling(jobs.Options{})
		session := jobs.Owner{Account: "client 10.0.0.1", Session: "s1"}
		user := jobs.Owner{Account: "client local", Private: true} // of the machine of that replica
		inSession, ofUser := a.begin(t, session, time.Hour, `1`).Info().ID, a.begin(t, user, time.Hour, `1`).Info().ID
		if got, want := b.listed(session), inSession+" true"; got != want {
			t.Errorf("the session is listed %s, want %s", got, want)
		}
		moved := jobs.Owner{Account: "client 10.0.0.2", Session: "s1"}
		b.stands(t, moved, inSession, jobs.Running, "")
		b.refuses(t, jobs.Owner{Account: "client 10.0.0.2", Session: "s2"}, inSession, false, "there is no job")
		if got := b.listed(user); got != "true" {
			t.Errorf("a user of another machine is listed %s", got)
		}
		b.stands(t, user, ofUser, jobs.Running, "") // who has the handle
	})
}
