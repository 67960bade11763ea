package backend

import (
	"regexp"
	"strings"
)

// EndReason is why an answer ended, in the word of its host, such as "stop" or "length".
// It is empty while the answer is incomplete.
type EndReason string

// NoReason is the reason of an answer whose host has ended it without giving one.
const NoReason EndReason = "unknown"

// End is what the reason for the end of an answer means.
type End int

// The ends.
const (
	// EndUnknown: the host gave no reason, or one that we do not know. The answer may be
	// incomplete.
	EndUnknown End = iota
	// EndWhole: the model has said all that it wanted to say.
	EndWhole
	// EndCut: the answer reached the number of tokens that it may have.
	EndCut
	// EndFiltered: a filter of the host stopped the answer, or the model refused to go on.
	EndFiltered
	// EndFailed: the host could not finish the answer.
	EndFailed
	// EndCalls: the model wants tools called. An answer that ends so and has no calls lacks
	// them.
	EndCalls
	// EndNoAnswer: no answer was requested, as by an empty prompt, which loads the model.
	EndNoAnswer
)

// ends are the reasons of all kinds of hosts.
var ends = map[string]End{
	"stop": EndWhole, "stop_sequence": EndWhole, "stop_token": EndWhole, "stopped": EndWhole,
	"eos": EndWhole, "eos_token": EndWhole, "end_of_text": EndWhole, "endoftext": EndWhole, "end_id": EndWhole,
	"end_turn": EndWhole, "end_of_turn": EndWhole, "end": EndWhole, "word": EndWhole,
	"complete": EndWhole, "completed": EndWhole, "done": EndWhole, "finished": EndWhole, "success": EndWhole,
	"tool_calls": EndCalls, "tool_call": EndCalls, "tool_use": EndCalls, "function_call": EndCalls, "function_calls": EndCalls,

	"length": EndCut, "max_length": EndCut, "model_length": EndCut, "max_tokens": EndCut, "max_output_tokens": EndCut,
	"max_completion_tokens": EndCut, "max_new_tokens": EndCut, "limit": EndCut, "token_limit": EndCut, "error_limit": EndCut,
	"context_length": EndCut, "context_length_exceeded": EndCut, "context_window_exceeded": EndCut, "model_context_window_exceeded": EndCut,
	"max_context_length": EndCut,

	"filter": EndFiltered, "filtered": EndFiltered, "safety": EndFiltered, "sensitive": EndFiltered, "moderation": EndFiltered,
	"guardrail": EndFiltered, "guardrails": EndFiltered, "blocked": EndFiltered, "blocklist": EndFiltered, "prohibited": EndFiltered,
	"recitation": EndFiltered, "refusal": EndFiltered, "refused": EndFiltered, "spii": EndFiltered, "toxic": EndFiltered, "error_toxic": EndFiltered,
	"language": EndFiltered, "policy": EndFiltered,

	"error": EndFailed, "failed": EndFailed, "failure": EndFailed, "exception": EndFailed, "abort": EndFailed, "aborted": EndFailed,
	"cancel": EndFailed, "cancelled": EndFailed, "canceled": EndFailed, "interrupted": EndFailed, "timeout": EndFailed,
	"timed_out": EndFailed, "time_limit": EndFailed, "insufficient": EndFailed, "unavailable": EndFailed, "overloaded": EndFailed,
	"preempted": EndFailed, "evicted": EndFailed, "crashed": EndFailed, "killed": EndFailed, "disconnected": EndFailed,
	"malformed": EndFailed, "unexpected": EndFailed, "nan": EndFailed, "memory": EndFailed, "oom": EndFailed, "exhausted": EndFailed,

	"load": EndNoAnswer, "unload": EndNoAnswer,
}

// camelCase finds where a word begins in a reason such as "ServerError".
var camelCase = regexp.MustCompile(`([a-z0-9])([A-Z])`)

// End looks the reason up, without regard to case and punctuation. Of a reason that is not
// in the table, such as "network_error" or "image_safety", one of its words may be; but a
// word alone never makes an answer whole.
func (r EndReason) End() End {
	if end, known := ends[string(r)]; known {
		return end // it is spelled as in the table, as most are
	}
	separate := camelCase.ReplaceAllString(string(r), "${1}_$2")
	words := strings.FieldsFunc(strings.ToLower(separate), func(c rune) bool {
		return (c < 'a' || c > 'z') && (c < '0' || c > '9')
	})
	if end, known := ends[strings.Join(words, "_")]; known {
		return end
	}
	found := EndUnknown
	for _, word := range words {
		switch end := ends[word]; end {
		case EndFailed:
			return end
		case EndFiltered, EndCut:
			found = max(found, end) // a filter says more than a limit
		}
	}
	return found
}

// Whole reports whether an answer that ended for this reason is all that the model wanted
// to say.
func (r EndReason) Whole() bool { return r.End() == EndWhole }
