package config

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/pflag"
)

// behaviour says of every option whose default decides how calls are served which tests
// run with that default, as most users do, and which with another value. A change of
// behaviour that is tested on one side only may be broken on the other.
var behaviour = []struct {
	option, byDefault string
	shipped           []named // run with the default
	changed           []named // run with another value, which they set with the text
}{
	{
		"slots", "0", // learned
		[]named{{"internal/e2e", "TestModelsThatDoNotFitTogetherAreNotLoadedForEachCall", ""}, {"internal/e2e", "TestStormLeavesNoCallUnansweredWhileARungLives", ""}},
		[]named{{"internal/e2e", "TestModelThatCrashesLosesNoneOfItsCalls", "--slots=4"}, {"internal/e2e", "TestCallCancelledInTheQueueNeverReachesOllama", "OLLAMA_MCP_SLOTS=1"}},
	},
	{
		"max-in-flight", "0",
		[]named{{"internal/e2e", "TestTwentyCallsAtOnceEachGetTheirOwnAnswer", ""}},
		[]named{{"pool", "TestAllHostsTogetherAreBoundedToo", "MaxInFlight"}},
	},
	{
		"queue", "256",
		[]named{{"internal/e2e", "TestStormLeavesNoCallUnansweredWhileARungLives", ""}},
		[]named{{"pool", "TestRequestBeyondTheQueueIsRefusedAtOnceWithAnHonestWait", "Queue:"}},
	},
	{
		"max-passed-over", "10s",
		[]named{{"internal/e2e", "TestColdStartTakesOneSlotAndCallersOfOtherModelsGoOn", ""}},
		[]named{{"internal/e2e", "TestModelsThatDoNotFitTogetherAreNotLoadedForEachCall", "--max-passed-over=1h"}, {"pool", "TestModelsThatShareAHostTakeTurnsInBlocks", "MaxPassedOver"}},
	},
	{
		"route", "warmest",
		[]named{{"internal/e2e", "TestHostThatDiesLosesNoCallAndIsAskedAgainWhenItIsBack", ""}},
		[]named{{"internal/route", "TestPolicyOrdersHostsWhateverTheirOrderBefore", ""}},
	},
	{
		"affinity", "true",
		[]named{{"internal/e2e", "TestConversationStaysWithTheHostThatHasReadIt", ""}},
		[]named{{"internal/inference", "TestPrefixesOfAPromptReachThePoolIfAffinityIsOn", "Affinity"}},
	},
	{
		"runner-options", "pinned",
		[]named{{"internal/e2e", "TestModelIsNotLoadedAnewForLessContextThanItHas", ""}},
		[]named{{"internal/e2e", "TestPinnedOptionIsNotChangedByACallerUnlessThatIsWanted", "--runner-options"}},
	},
	{
		"fallback-after", "0s",
		[]named{{"internal/e2e", "TestStormLeavesNoCallUnansweredWhileARungLives", ""}},
		[]named{{"internal/inference", "TestLongQueueSendsARequestToTheNextRung", "FallbackAfter"}},
	},
	{
		"hedge-after", "0s",
		[]named{{"internal/e2e", "TestHostWhoseModelHangsIsEjected", ""}},
		[]named{{"internal/e2e", "TestCallOnAHostThatIsFrozenIsAnsweredByAnother", "OLLAMA_MCP_HEDGE_AFTER=500ms"}},
	},
	{
		"merge-window", "0s",
		[]named{{"internal/inference", "TestSingleTextsAreSentOneByOneByDefault", ""}},
		[]named{{"internal/inference", "TestSingleTextsOfManyCallersAreOneRequest", "MergeWindow"}},
	},
	{
		"no-cloud", "false",
		[]named{{"internal/e2e", "TestAnswerComesFromTheProviderWhenTheHostDiesInTheMiddleOfIt", ""}},
		[]named{{"internal/inference", "TestNoRequestLeavesForACloudWhereThatIsForbidden", "NoCloud"}},
	},
	{
		"context-guard", "next-rung-or-refuse",
		[]named{{"internal/e2e", "TestPromptThatDoesNotFitIsRefusedOrCutAndSaidToBe", ""}},
		[]named{{"internal/inference", "TestPromptBeyondTheContextIsRefusedOrTruncatedAndNeverSilently", "ContextGuard"}},
	},
	{
		"timeout", "5m0s",
		[]named{{"internal/e2e", "TestCancelledCallStopsOllamaAndLeavesNothingOpen", ""}},
		[]named{{"internal/e2e", "TestTimeLimitHoldsWhateverItsSize", "OLLAMA_MCP_TIMEOUT=100ms"}},
	},
	{
		"wait", "50s",
		[]named{{"internal/e2e", "TestStormLeavesNoCallUnansweredWhileARungLives", ""}},
		[]named{{"internal/e2e", "TestLongGenerationReachesAClientThatGivesUpEarly", "--wait=1s"}, {"tools", "TestCallThatTakesLongBecomesAJob", "wait_seconds"}},
	},
	{
		"job-ttl", "1h0m0s",
		[]named{{"tools", "TestCallThatTakesLongBecomesAJob", ""}},
		[]named{{"internal/jobs", "TestResultIsKeptForItsTimeOnly", "TTL:"}},
	},
	{
		"drain-timeout", "10s",
		[]named{{"internal/e2e", "TestClientOfAServerThatWasStartedAnewGoesOnOrIsToldToConnectAgain", ""}},
		[]named{{"internal/e2e", "TestTerminatedServerLetsItsCallsEnd", "--drain-timeout=10m"}, {"internal/e2e", "TestCallThatOutlastsTheDrainIsAnsweredAsCancelled", "--drain-timeout=100ms"}},
	},
	// Each of these tests runs in both modes.
	{"cache", "auto", inBothModes, inBothModes},
	{
		"memory", "",
		[]named{{"internal/e2e", "TestStormLeavesNoCallUnansweredWhileARungLives", ""}},
		[]named{{"internal/app", "TestMemoryIsDividedByTheWhole", "--memory="}},
	},
	{
		"cache-size", "256",
		[]named{{"internal/e2e", "TestStormLeavesNoCallUnansweredWhileARungLives", ""}},
		[]named{{"cache", "TestMemoryStaysWithinTheSize", "Size:"}},
	},
	{
		"cache-ttl", "10m0s",
		[]named{{"internal/e2e", "TestStormLeavesNoCallUnansweredWhileARungLives", ""}},
		[]named{{"cache", "TestEntryServesForItsTimeOnly", "TTL:"}},
	},
	{
		"redis-ttl", "1h0m0s",
		[]named{{"internal/redis", "TestAnswerOfOneReplicaIsFoundByTheOthers", ""}},
		[]named{{"internal/redis", "TestRecordsExpireAfterTheirTime", "TTL"}},
	},
	{
		"redis-prefix", "ollama-mcp",
		[]named{{"internal/redis", "TestAnswerOfOneReplicaIsFoundByTheOthers", ""}},
		[]named{{"internal/redis", "TestReplicasWithAnotherPrefixShareNothing", "Prefix"}},
	},
	{
		"semantic-cache", "off",
		inBothModes,
		[]named{{"internal/inference", "TestShadowModeCountsHitsAndServesNone", "Shadow"}},
	},
	{
		"semantic-threshold", "0.95",
		[]named{{"internal/semantic", "TestGuardsLetNoFalseHitPassAtTheDefaultThreshold", ""}},
		[]named{{"internal/inference", "TestSemanticThresholdIsPerModelAndCallersMayOnlyRaiseIt", "Threshold"}},
	},
	{
		"inline-bytes", "16384",
		[]named{{"internal/e2e", "TestEmbeddingsTooLargeForAResultCanBeReadFromTheirLink", ""}},
		[]named{{"internal/app", "TestCallPrintsVectorsHoweverManyThereAre", ""}},
	},
	{
		"result-meta", "short",
		[]named{{"internal/app", "TestMetadataOfAResultIsShort", ""}},
		[]named{{"internal/app", "TestMetadataOfAResultIsAsConfigured", "--result-meta=off"}},
	},
	{
		"tools", "[]",
		[]named{{"internal/e2e", "TestEveryClientCanUseTheTools", ""}},
		[]named{{"internal/app", "TestOnlyTheToolsThatAreWantedAreOffered", "--tools"}},
	},
	{
		"no-tools", "[]",
		[]named{{"internal/e2e", "TestEveryClientCanUseTheTools", ""}},
		[]named{{"internal/app", "TestOnlyTheToolsThatAreWantedAreOffered", "--no-tools"}},
	},
	{
		"read-only", "false",
		[]named{{"internal/e2e", "TestEveryClientCanUseTheTools", ""}},
		[]named{{"internal/app", "TestOnlyTheToolsThatAreWantedAreOffered", "--read-only"}},
	},
	{
		"tool-names", "kebab",
		[]named{{"internal/e2e", "TestEveryClientCanUseTheTools", ""}},
		[]named{{"internal/app", "TestNamesOfToolsAreListedAsTheHostTakesThem", "--tool-names=snake"}},
	},
	{
		"max-message", "32",
		[]named{{"internal/e2e", "TestLinesThatAreNoRequestAreAnsweredAndTheNextOneWorks", ""}},
		[]named{{"server", "TestLimitOfAMessageIsExact", "MaxMessage"}},
	},
	{
		"allow-manage", "false",
		[]named{{"internal/e2e", "TestEveryClientCanUseTheTools", ""}},
		[]named{{"internal/app", "TestOnlyTheToolsThatAreWantedAreOffered", "--allow-manage"}},
	},
	{
		"allow-registry", "[]",
		[]named{{"internal/manage", "TestModelsArePulledFromAllowedRegistriesOnly", ""}},
		[]named{{"internal/manage", "TestModelsArePulledFromAllowedRegistriesOnly", "Registries"}},
	},
	{
		"allow-dir", "[]",
		[]named{{"internal/files", "TestNoDirectoryIsAllowedUnlessSaid", ""}},
		[]named{{"tools", "TestFilesAreReadIntoThePromptByTheServer", "allow("}},
	},
	{
		"allow-write", "[]",
		[]named{{"internal/files", "TestNoDirectoryIsAllowedUnlessSaid", ""}},
		[]named{{"tools", "TestAnswerIsWrittenToAFileAndTheResultIsAReceipt", "allow("}},
	},
	{
		"gateway", "false",
		[]named{{"internal/e2e", "TestEveryClientCanUseTheTools", ""}},
		[]named{{"internal/app", "TestOtherAPIsAreServedOnlyIfWanted", "--gateway"}},
	},
	{
		"allowed-host", "[]",
		[]named{{"internal/e2e", "TestEveryClientCanUseTheTools", ""}},
		[]named{{"internal/e2e", "TestNginxLeavesItToTheServerWhoMayCall", "--allowed-host"}},
	},
	{
		"allowed-origin", "[]",
		[]named{{"internal/e2e", "TestEveryClientCanUseTheTools", ""}},
		[]named{{"internal/e2e", "TestNginxLeavesItToTheServerWhoMayCall", "--allowed-origin"}},
	},
	{
		"trust-proxy", "[]",
		[]named{{"internal/e2e", "TestEveryClientCanUseTheTools", ""}},
		[]named{{"server", "TestCallersWithoutCredentialsShareNoPlacesOfOthers", "TrustedProxies"}},
	},
	{
		"call-log-size", "100",
		[]named{{"internal/app", "TestCallLogHasOneLineForEachCall", ""}},
		[]named{{"internal/calllog", "TestFileIsRotatedBySizeAndAge", "MaxSize:"}},
	},
	{
		"call-log-age", "24h0m0s",
		[]named{{"internal/app", "TestCallLogHasOneLineForEachCall", ""}},
		[]named{{"internal/calllog", "TestFileIsRotatedBySizeAndAge", "MaxAge:"}},
	},
	{
		"call-log-keep", "7",
		[]named{{"internal/app", "TestCallLogHasOneLineForEachCall", ""}},
		[]named{{"internal/calllog", "TestFileIsRotatedBySizeAndAge", "Keep:"}},
	},
	{
		"log-content", "false",
		[]named{{"internal/app", "TestCallLogHasOneLineForEachCall", ""}},
		[]named{{"internal/app", "TestCallLogHasPromptsAndAnswersOnlyIfWanted", "--log-content"}},
	},
	{
		"trace-content", "false",
		[]named{{"internal/app", "TestTracesAreSentIfTheStandardVariablesAskForThem", ""}},
		[]named{{"internal/app", "TestTracesHavePromptsAndAnswersOnlyIfWanted", "--trace-content"}},
	},
	{
		"insecure", "false",
		[]named{{"internal/e2e", "TestEveryClientCanUseTheTools", ""}},
		[]named{{"server", "TestAddressesAreListenedAtOrRefused", "Insecure"}},
	},
}

// inBothModes are the tests of what must hold with the cache on as well as off.
var inBothModes = []named{
	{"internal/e2e", "TestCancelledCallStopsOllamaAndLeavesNothingOpen", twice},
	{"internal/e2e", "TestCallCancelledInTheQueueNeverReachesOllama", twice},
	{"internal/e2e", "TestModelThatCrashesLosesNoneOfItsCalls", twice},
	{"internal/e2e", "TestHostWhoseModelHangsIsEjected", twice},
	{"internal/e2e", "TestHostThatDiesLosesNoCallAndIsAskedAgainWhenItIsBack", twice},
	{"internal/e2e", "TestHostsThatAreReplacedWhileTheProgramRunsLoseNoCall", twice},
	{"internal/e2e", "TestModelsThatDoNotFitTogetherAreNotLoadedForEachCall", twice},
	{"internal/e2e", "TestColdStartTakesOneSlotAndCallersOfOtherModelsGoOn", twice},
	{"internal/e2e", "TestSessionOutlivesAnOllamaThatIsDown", twice},
	{"internal/e2e", "TestAnswerOfAnOllamaThatDiesIsNotLost", twice},
	{"internal/e2e", "TestModelIsLoadedThoughTheCallThatNeededItRanOutOfTime", twice},
	{"internal/e2e", "TestStormLeavesNoCallUnansweredWhileARungLives", twice},
	{"internal/e2e", "TestCallOnAHostThatIsFrozenIsAnsweredByAnother", twice},
	{"internal/e2e", "TestWithNoRungLeftEachErrorNamesTheReasonOfEachInOneLine", twice},
	{"internal/e2e", "TestAnswerComesFromTheProviderWhenTheHostDiesInTheMiddleOfIt", twice},
	{"internal/e2e", "TestProgressComesWhileTheModelAnswersAndTheTimeLimitLeavesWhatThereIs", twice},
	{"internal/e2e", "TestOllamaStopsWhenTheClientIsGone", twice},
	{"internal/e2e", "TestTerminatedServerLetsItsCallsEnd", twice},
	{"internal/e2e", "TestCallThatOutlastsTheDrainIsAnsweredAsCancelled", twice},
}

const twice = "withAndWithoutCache"

// inert are the options that do nothing until somebody gives them, such as addresses,
// names and files of the installation. All tests but their own run without them.
var inert = []string{
	"config", "host", "ca-file", "semantic-model", "output-filter", "listen", "tls-cert", "tls-key", "tls-client-ca",
	"token-file", "session-key-file", "state-dir", "oauth-issuer", "oauth-audience", "oauth-resource", "metrics-address", "log-level",
	"call-log", "dashboard", "redis", "redis-password-file", "redis-seal-key",
}

// named is a test, and a text that is in it.
type named struct{ pkg, test, text string }

func TestDefaultOfEveryOptionHasTestsAndSoHasItsChange(t *testing.T) {
	left := make(map[string]string) // options that are not in a table, with their defaults
	Flags(new(Config)).VisitAll(func(f *pflag.Flag) { left[f.Name] = f.DefValue })
	for _, option := range inert {
		if _, ok := left[option]; !ok {
			t.Errorf("%s is no option", option)
		}
		delete(left, option)
	}
	sources := make(map[string]map[string]string)
	for _, o := range behaviour {
		if is, ok := left[o.option]; !ok || is != o.byDefault {
			t.Errorf("the default of %s is %q, and in the table %q (or it is there twice)", o.option, is, o.byDefault)
		}
		delete(left, o.option)
		if len(o.shipped) == 0 || len(o.changed) == 0 {
			t.Errorf("%s: no test runs with its default, or none with another value", o.option)
		}
		for _, n := range o.changed {
			expectTest(t, sources, o.option, n)
		}
		for _, n := range o.shipped {
			source := expectTest(t, sources, o.option, n)
			variable := "OLLAMA_MCP_" + strings.ToUpper(strings.ReplaceAll(o.option, "-", "_")) + "="
			for _, set := range []string{`"--` + o.option + `"`, "--" + o.option + "=", variable} {
				if strings.Contains(source, set) {
					t.Errorf("%s: %s sets it with %s, so it does not run with the default", o.option, n.test, set)
				}
			}
		}
	}
	for option := range left {
		t.Errorf("no table has the option %s: say which tests run with its default and which with another value", option)
	}
}

// expectTest returns the source of a test, which must be there and have its text.
func expectTest(t *testing.T, sources map[string]map[string]string, option string, n named) (source string) {
	t.Helper()
	if sources[n.pkg] == nil {
		sources[n.pkg] = testSources(t, n.pkg)
	}
	source, ok := sources[n.pkg][n.test]
	switch {
	case !ok:
		t.Errorf("%s: %s has no test %s", option, n.pkg, n.test)
	case !strings.Contains(source, n.text):
		t.Errorf("%s: %q is not in %s", option, n.text, n.test)
	}
	return source
}

// testSources returns the source of each test function in a folder, by its name.
func testSources(t *testing.T, pkg string) map[string]string {
	t.Helper()
	files, err := filepath.Glob(path.Join("../..", pkg, "*_test.go"))
	if err != nil {
		t.Fatal(err)
	}
	sources := make(map[string]string)
	for _, name := range files {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		fset := token.NewFileSet()
		parsed, err := parser.ParseFile(fset, name, text, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, decl := range parsed.Decls {
			if f, ok := decl.(*ast.FuncDecl); ok && strings.HasPrefix(f.Name.Name, "Test") {
				sources[f.Name.Name] = string(text[fset.Position(f.Pos()).Offset:fset.Position(f.End()).Offset])
			}
		}
	}
	return sources
}
