package e2e_test

import (
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"ollama-mcp/internal/e2e/ollamatest"
	"ollama-mcp/internal/e2e/tinymodels"
)

// chosen are tests of what a user has the program for. They use the shared Ollama alone.
var chosen = []string{
	"TestListModelsTellsWhatOllamaHas",
	"TestListModelsFindsModelsByWhatTheyCanDo",
	"TestAnswersAreTheModelsWordsAndSayWhatServedThem",
	"TestEmbedPutsRelatedTextsNearEachOther",
	"TestTextThatIsTooLongFailsAloneAndNamesItself",
	"TestAnswerThatDoesNotFitItsFormatIsAFailureAndNotLost",
	"TestThoughtsAreKeptApartFromTheAnswer",
	"TestModelThatOnlyThinksIsGivenMoreAndThenSaidToHave",
	"TestToolCallsGoOutAndTheirResultsComeBack",
	"TestGapBeforeASuffixIsFilled",
	"TestAnswerThatIsCutIsSaidToBe",
	"TestStreamThatEndsWithoutAnEndIsAFailure",
	"TestMissingModelIsAnsweredWithTheNameThatIsMeant",
	"TestMistakesAreAnsweredWithTheirCauseAndLeaveNothingBehind",
	"TestProviderServesWhatAHostDoes",
}

// The other tests run on one release. The engine that stands in for that of the newest
// pays no attention to formats, so the tests of these are for the others.
func TestOldestAndNewestOllamaDoWhatUsersNeed(t *testing.T) {
	t.Parallel()
	if os.Getenv(releaseVariable) != "" {
		t.Fatal("this is one of the tests that it runs")
	}
	for release, tests := range map[ollamatest.Release][]string{
		ollamatest.Oldest: append(slices.Clone(chosen), "TestFormatGivesStructuredContentThatFits"),
		ollamatest.Newest: chosen,
	} {
		t.Run(string(release), func(t *testing.T) {
			t.Parallel()
			cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.v", "-test.run=^("+strings.Join(tests, "|")+")$")
			cmd.Env = append(os.Environ(), releaseVariable+"="+string(release), "OLLAMA_MCP_BIN="+program)
			out, err := cmd.CombinedOutput()
			if err != nil {
				t.Errorf("%v:\n%s", err, out)
			}
			for _, name := range tests {
				if !strings.Contains(string(out), "\n--- PASS: "+name+" ") {
					t.Errorf("%s has not passed", name)
				}
			}
		})
	}
}

func TestModelWhoseChatTheEngineRendersAnswersCallsAndThinks(t *testing.T) {
	t.Parallel()
	s := connect(t, ollamatest.Start(t, ollamatest.Options{
		Release: ollamatest.Newest,
		Models:  []tinymodels.Model{tinymodels.Says.Native(), tinymodels.ToolCall.Native(), tinymodels.Thinks.Native()},
	}))
	const hello = `"messages":[{"role":"user","content":"hi"}]`
	if a := s.succeeds("chat", `{"model":"tiny-says-native",`+hello+`}`); a.text() != tinymodels.Says.Answer {
		t.Errorf("chat: got %+v", a)
	}
	if a := s.succeeds("generate", `{"model":"tiny-says-native","prompt":"hi"}`); a.text() != tinymodels.Says.Answer {
		t.Errorf("generate: got %+v", a)
	}
	if a := s.succeeds("chat", `{"model":"tiny-thinks-native",`+hello+`,"think":true}`); a.text() != tinymodels.Thinks.Answer || a.Meta.Thinking != tinymodels.Thinks.Thought {
		t.Errorf("thinking: got %+v", a)
	}
	a := s.succeeds("chat", `{"model":"tiny-toolcall-native",`+hello+`,"tools":[{"type":"function","function":{"name":"get_weather","parameters":{"type":"object","properties":{"city":{"type":"string"}}}}}]}`)
	if !strings.Contains(fmt.Sprint(a.StructuredContent["tool_calls"]), "city:Oslo") {
		t.Errorf("tools: got %+v, want a call for Oslo", a)
	}
}
