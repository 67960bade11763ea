package backendtest

import (
	"context"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"ollama-mcp/internal/backend"
)

// Opener returns a backend of some kind that talks to a host. What it opens it
// closes in t.Cleanup.
type Opener func(t *testing.T, host *Host) backend.Backend

// API is what a backend asks hosts in.
type API string

// The APIs that a Host speaks.
const (
	Ollama API = "ollama"
	OpenAI API = "openai" // below /v1
)

// Conform checks what every kind of backend promises, over real sockets, and what
// more those can that ask in Ollama's own API.
func Conform(t *testing.T, api API, open Opener) {
	for _, p := range slices.Concat(promises, more[api]) {
		t.Run(p.name, func(t *testing.T) { p.check(t, open) })
	}
}

// ConformInBubble checks the same, and what takes time besides, in a synctest
// bubble, where a goroutine that is left behind fails a check. The backend has
// to reach the host through Dial.
func ConformInBubble(t *testing.T, api API, open Opener) {
	for _, p := range slices.Concat(promises, promisesInTime, more[api], moreInTime[api]) {
		t.Run(p.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { p.check(t, open) })
		})
	}
}

// promise is a sentence that every kind of backend makes true.
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
	{"chat keeps text, thoughts and tool calls apart", chatKeepsPartsApart},
	{"vectors come one per input and in order", vectorsInOrder},
	{"models are told", modelsAreTold},
	{"calls at the same time get their own answers", callsDoNotMix},

	{"every failure has its class", failuresHaveClasses},
	{"every failed list has its class", failedListsHaveClasses},
	{"an error names the host and no address", errorsNameTheHost},
	{"an unfinished answer is an error and what came of it", unfinishedAnswerIsAnError},
	{"too few vectors are an error", tooFewVectors},

	{"a context that has ended sends nothing", endedContextSendsNothing},
	{"a cancelled call ends at the host, before the first piece", cancelReachesHost(Hang, "")},
	{"a cancelled call ends at the host, after pieces", cancelReachesHost(HangAfter(2), "one two ")},
	{"one connection serves answers one after another, and another the rest", connectionIsKept},
	{"a refused call keeps its connection", refusedCallKeepsConnection},
	{"a host that comes back is reached again", hostComesBack},
}

// promisesInTime take minutes, or ask for exact times.
var promisesInTime = []promise{
	{"a slow load is waited for", slowLoadIsWaitedFor},
	{"times are told as they are seen from here", timesAreTold},
	{"an answer that is done does not wait for a body that goes on", doneEndsCall},
	{"a deadline ends the call, whatever the host does", deadlineEndsCall},
}

// more are promises that not every API has the words for.
var more = map[API][]promise{Ollama: {
	{"a request arrives as it was made, but streamed", requestArrivesAsMade},
	{"running models, description and version are told", runningIsTold},
	{"an empty prompt loads the model", emptyPromptLoads},
	{"blame is put right where the status misleads", blameIsPutRight},
}}

// moreInTime are those among them that ask for exact times.
var moreInTime = map[API][]promise{Ollama: {
	{"times are those that the host took", hostTimesAreTold},
}}

// askers are the ways to get an answer. A model says the prompt.
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

// await fails the test unless the host comes to a state in reasonable time.
func await(t *testing.T, host *Host, what string, until func(Stats) bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if host.Wait(ctx, until) != nil {
		t.Fatalf("the host never saw %s: %+v", what, host.Stats())
	}
}
