package semantic_test

import (
	"strings"
	"testing"

	"ollama-mcp/internal/semantic"
)

func BenchmarkGuard(b *testing.B) {
	for name, pair := range map[string][2]string{
		"a sentence":           {"How do I reset the password of my router?", "Please tell me how I reset the password of my router."},
		"as long as may be":    {strings.Repeat("x y ", 499) + "a", strings.Repeat("y z ", 499) + "b"},
		"long, and in Chinese": {strings.Repeat("猫狗", 332) + "一", strings.Repeat("狗鸟", 332) + "二"},
		"open quotes":          {strings.Repeat("'x ", 660), strings.Repeat("'y ", 660)},
	} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				semantic.Guard(pair[0], pair[1])
			}
		})
	}
}
