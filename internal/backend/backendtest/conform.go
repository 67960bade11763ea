package backendtest

import (
	"context"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"ollama-mcp/internal/backend"
)

// Opener returns a backend that talks to a host, and closes it in t.Cleanup.
type Opener func(t *testing.T, host *Host) backend.Backend

// API is the API that a backend speaks to a host.
type API string

// The APIs that a Host speaks.
const (
	Ollama API = "ollama"
	OpenAI API = "openai" // below /v1
)

// Conform checks the promises of every kind of backend, over real sockets, and the
// further ones of backends that speak Ollama's own API.
func Conform(t *testing.T, api API, open Opener) {
	for _, p := range slices.Concat(promises, more[api]) {
		t.Run(p.name, func(t *testing.T) { p.check(t, open) })
	}
}

// ConformInBubble checks the same, and promises about time besides, in a synctest bubble,
// where a goroutine that is left behind fails a check. The backend has to reach the host
// through Dial.
func ConformInBubble(t *testing.T, api API, open Opener) {
	for _, p := range slices.Concat(promises, promisesInTime, more[api], moreInTime[api]) {
		t.Run(p.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { p.check(t, open) })
		})
	}
}

// promise is a sentence that is true of every kind of backend.
type promise struct {
	name string
	test func(t *testing.T, host *Host, b backend.Backend)
}

func (p promise) check(t *testing.T, open Opener) {
	host := New("host")
	p.test(t, host, open(t, host))
}

var promises = []promise{
	{"generated pieces add up to the answer", generatedPiecesAddUp},
	{"logprobs are told if they are wanted", logprobsAreTold},
	{"chat keeps text, thoughts and tool calls apart", chatKeepsPartsApart},
	{"vectors come one per input and in order", vectorsInOrder},
	{"models are told", modelsAreTold},
	{"calls at the same time get their own answers", callsDoNotMix},

	{"every failure has its class", failuresHaveClasses},
	{"every failed list has its class", failedListsHaveClasses},
	{"an error names the host and no address", errorsNameTheHost},
	{"an unfinished answer is an error with the part that arrived", unfinishedAnswerIsAnError},
	{"too few vectors are an error", tooFewVectors},

	{"a context that has ended sends nothing", endedContextSendsNothing},
	{"a cancelled call ends at the host, before the first piece", cancelReachesHost(Hang, "")},
	{"a cancelled call ends at the host, after pieces", cancelReachesHost(HangAfter(2), "one two ")},
	{"a host that comes back is reached again", hostComesBack},
}

// promisesInTime take minutes, require exact times, or count connections: net/http closes one that
// it would keep when its goroutines wait 50 ms for a processor.
var promisesInTime = []promise{
	{"a slow load is waited for", slowLoadIsWaitedFor},
	{"times are told as they are seen from here", timesAreTold},
	{"an answer that is done does not wait for a body that goes on", doneEndsCall},
	{"a deadline ends the call, whatever the host does", deadlineEndsCall},
	{"one connection serves answers one after another, and another the rest", connectionIsKept},
	{"a refused call keeps its connection", refusedCallKeepsConnection},
	{"an answer keeps nothing of its call in memory", answerKeepsNothing},
	{"a hostile host harms no other call", hostileHostEndsNothingElse},
}

// more are promises that only some APIs can keep.
var more = map[API][]promise{Ollama: {
	{"a request arrives as it was made, but streamed", requestArrivesAsMade},
	{"running models, description and version are told", runningIsTold},
	{"an empty prompt loads the model", emptyPromptLoads},
	{"a misleading status does not decide the class", blameIsPutRight},
}}

// moreInTime are those among them that require exact times.
var moreInTime = map[API][]promise{Ollama: {
	{"times are those that the host took", hostTimesAreTold},
}}

// askers are the ways to get an answer. The model answers with the prompt.
var askers = map[string]asker{"generate": generate, "chat": chat}

type asker func(ctx context.Context, b backend.Backend, prompt string) (*backend.Answer, error)

func generate(ctx context.Context, b backend.Backend, prompt string) (*backend.Answer, error) {
	return b.Generate(ctx, &backend.GenerateRequest{Model: Tiny, Prompt: prompt}, nil)
}

func chat(ctx context.Context, b backend.Backend, prompt string) (*backend.Answer, error) {
	return b.Chat(ctx, &backend.ChatRequest{Model: Tiny, Messages: []backend.Message{{Role: "user", Content: prompt}}}, nil)
}

func embedOne(ctx context.Context, b backend.Backend, prompt string) (*backend.Answer, error) {
	_, err := b.Embed(ctx, &backend.EmbedRequest{Model: Tiny, Input: prompt})
	return nil, err
}

// await waits for a state of the host, and fails the test if it does not come.
func await(t *testing.T, host *Host, what string, until func(Stats) bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	if host.Wait(ctx, until) != nil {
		t.Fatalf("the host never saw %s: %+v", what, host.Stats())
	}
}
