package metrics

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

// A rule or a panel with a wrong name is silent for ever.
func TestRulesAndDashboardNameOnlyMetricsThatExist(t *testing.T) {
	exist := make(map[string]bool)
	for _, f := range families {
		exist[f.name] = true
		if f.kind == histogram {
			exist[f.name+"_bucket"], exist[f.name+"_count"], exist[f.name+"_sum"] = true, true, true
		}
	}
	// What stands before a parenthesis, a brace or an operator, and neither is a label nor follows a colon.
	names := regexp.MustCompile(`(^|[^:\w])((?:mcp_server|http_server|gen_ai_server|gen_ai_client|ollama_mcp)_\w+)`)
	for _, file := range []string{"prometheus/recording.yml", "prometheus/alerts.yml", "prometheus/tests.yml", "grafana/ollama-mcp.json"} {
		text, err := os.ReadFile("../../deploy/" + file)
		if err != nil {
			t.Fatal(err)
		}
		found := names.FindAllStringSubmatch(string(text), -1)
		if len(found) == 0 {
			t.Errorf("%s names no metric", file)
		}
		for _, name := range found {
			if !exist[name[2]] {
				t.Errorf("%s: there is no %s", file, name[2])
			}
		}
	}
	// Each alert has a test that sees it fire.
	alerts, _ := os.ReadFile("../../deploy/prometheus/alerts.yml")
	tests, _ := os.ReadFile("../../deploy/prometheus/tests.yml")
	for _, alert := range regexp.MustCompile(`alert: (\w+)`).FindAllStringSubmatch(string(alerts), -1) {
		if !regexp.MustCompile(`alertname: ` + alert[1] + `\n\s+exp_alerts:`).Match(tests) {
			t.Errorf("no test sees %s fire", alert[1])
		}
	}
	if strings.Count(string(alerts), "alert: ") < 10 {
		t.Error("there are hardly any alerts")
	}
}
