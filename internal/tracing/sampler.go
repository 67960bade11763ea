package tracing

import (
	"cmp"
	"strconv"
	"strings"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
)

// newSampler is the sampler that the standard variables ask for. The SDK makes the same one of them,
// and says what is wrong with them, but keeps it to itself: so it cannot be asked before there is a
// span whether there should be one.
func newSampler(env func(string) string) sdktrace.Sampler {
	given := strings.ToLower(strings.TrimSpace(env("OTEL_TRACES_SAMPLER")))
	name, byParent := strings.CutPrefix(cmp.Or(given, "parentbased_always_on"), "parentbased_")
	sampler := sdktrace.AlwaysSample()
	switch name {
	case "always_on":
	case "always_off":
		sampler = sdktrace.NeverSample()
	case "traceidratio":
		part, err := strconv.ParseFloat(strings.TrimSpace(env("OTEL_TRACES_SAMPLER_ARG")), 64)
		if err == nil && part >= 0 && part <= 1 {
			sampler = sdktrace.TraceIDRatioBased(part)
		}
	default:
		byParent = true // the default
	}
	if byParent {
		return sdktrace.ParentBased(sampler)
	}
	return sampler
}
