package redis

import (
	"context"
	"crypto/sha1" // which names scripts
	"encoding/hex"
	"strconv"

	"github.com/redis/rueidis"
)

// script is a Lua script that the server runs. The server is told its name, and the script only where it has not
// run it yet.
type script struct{ text, name string }

func newScript(text string) script {
	sum := sha1.Sum([]byte(text))
	return script{text, hex.EncodeToString(sum[:])}
}

// run runs a script, whose result comes first, and other commands in the same round trip; more may be nil. It is
// not ok if the server cannot be asked now, or does not answer in time.
func (c *Client) run(s script, keys, args []string, more func(rueidis.Builder) rueidis.Commands) (results []rueidis.RedisResult, ok bool) {
	eval := func(command, script string) func(b rueidis.Builder) rueidis.Commands {
		return func(b rueidis.Builder) rueidis.Commands {
			return rueidis.Commands{b.Arbitrary(command).Args(script, strconv.Itoa(len(keys))).Keys(keys...).Args(args...).Build()}
		}
	}
	results, ok = c.do(context.Background(), func(b rueidis.Builder) rueidis.Commands {
		all := eval("EVALSHA", s.name)(b)
		if more != nil {
			all = append(all, more(b)...)
		}
		return all
	})
	if !ok {
		return nil, false
	}
	if said, is := rueidis.IsRedisErr(results[0].Error()); is && said.IsNoScript() {
		whole, ok := c.do(context.Background(), eval("EVAL", s.text))
		if !ok {
			return nil, false
		}
		results[0] = whole[0]
	}
	return results, true
}
