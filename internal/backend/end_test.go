package backend

import "testing"

func TestReasonsOfAllKindsOfHostsHaveTheirMeaning(t *testing.T) {
	for end, reasons := range map[End][]EndReason{
		EndWhole: {
			"stop", "STOP", "eos", "eos_token", "stop_sequence", "end_turn", "END_TURN",
			"COMPLETE", "completed", " stop ", "endTurn", "stopSequence", "EndOfText",
		},
		EndCalls: {"toolUse", "ToolCalls", "tool_calls", "function_call", "tool-use", "TOOL_USE"},
		EndCut: {
			"length", "max_tokens", "MAX_TOKENS", "model_length", "max_output_tokens", "limit", "token_limit", "ERROR_LIMIT",
			"model_context_window_exceeded", "maxTokens.limit", "MaxTokens", "maxOutputTokens",
		},
		EndFiltered: {
			"contentFilter", "GuardrailIntervened", "content_filter", "content-filter", "content_filtered", "SAFETY", "IMAGE_SAFETY", "sensitive", "guardrail_intervened",
			"PROHIBITED_CONTENT", "RECITATION", "refusal", "ERROR_TOXIC", "stopped_by_filter", "filter_limit",
		},
		EndFailed: {
			"error", "abort", "aborted", "insufficient_system_resource", "network_error", "server_error", "cancelled", "USER_CANCEL",
			"timeout", "MALFORMED_FUNCTION_CALL", "engine-overloaded", "ServerError", "networkError", "out_of_memory", "OOM", "resource_exhausted", "finished with error",
		},
		EndNoAnswer: {"load", "unload"},
		EndUnknown:  {"", NoReason, "other", "OTHER", "FINISH_REASON_UNSPECIFIED", "pause_turn", "not_stop", "notStop", "early stop", "?", "stöp"},
	} {
		for _, reason := range reasons {
			if got := reason.End(); got != end {
				t.Errorf("%q: got %d, want %d", reason, got, end)
			}
			if reason.Whole() != (end == EndWhole) {
				t.Errorf("%q: whole is %v", reason, reason.Whole())
			}
		}
	}
}
