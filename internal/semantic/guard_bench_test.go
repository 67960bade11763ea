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
		"full of phrases":      {strings.Repeat("have to what does a few mean ", 68) + "a", strings.Repeat("in order to tell me what ", 78) + "b"},
		"phrases in Chinese":   {strings.Repeat("是什么知道为什么", 82) + "一", strings.Repeat("能不能是否的", 109) + "二"},
		"open quotes":          {strings.Repeat("'x ", 660), strings.Repeat("'y ", 660)},
	} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				semantic.Guard(pair[0], pair[1])
			}
		})
	}
}
