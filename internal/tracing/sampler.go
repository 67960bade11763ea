package tracing

import (
	"cmp"
	"strconv"
	"strings"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
)

// samplers decide which calls are sampled.
type samplers struct {
	root  sdktrace.Sampler // without a parent
	below sdktrace.Sampler // with one
}

// newSamplers are the samplers that the standard variables ask for. The SDK makes the same of the
// variables, and says what is wrong with them, but keeps its sampler to itself: so that cannot be asked
// before there is a span whether there should be one.
func newSamplers(env func(string) string) samplers {
	given := strings.ToLower(strings.TrimSpace(env("OTEL_TRACES_SAMPLER")))
	name, byParent := strings.CutPrefix(cmp.Or(given, "parentbased_always_on"), "parentbased_")
	root := sdktrace.AlwaysSample()
	switch name {
	case "always_on":
	case "always_off":
		root = sdktrace.NeverSample()
	case "traceidratio":
		part, err := strconv.ParseFloat(strings.TrimSpace(env("OTEL_TRACES_SAMPLER_ARG")), 64)
		if err == nil && part >= 0 && part <= 1 {
			root = sdktrace.TraceIDRatioBased(part)
		}
	default:
		byParent = true // the default
	}
	if byParent {
		return samplers{root, sdktrace.ParentBased(root)}
	}
	return samplers{root, root}
}
