package config

import (
	"strings"
	"testing"
)

func TestAddressesOfRedis(t *testing.T) {
	for url, ok := range map[string]bool{
		"redis://redis.test": true, "redis://redis.test:6379": true, "redis://ann@redis.test/3": true, "rediss://[::1]:7000/": true,
		"valkey://redis.test": true, "valkeys://redis.test": true, "unix:///run/redis.sock": true,
		"redis://a.test:7000?addr=b.test:7001&addr=c.test:7002": true,

		"redis.test:6379": false, "http://redis.test": false, "redis:": false, "redis://": false, "redis://:6379": false,
		"redis://redis.test/zero": false, "redis://redis.test/1/2": false, "redis://redis.test/-1": false, "redis://redis.test:0": false, "redis://redis.test:99999": false,
		"redis://ann:hunter2@redis.test": false, "redis://redis.test?max_retries=3": false, "redis://redis.test#1": false,
		"unix://redis.sock": false, "redis://a.test/2?addr=b.test:1": false, "redis://redis.test:port": false,
	} {
		var c Config
		err := Parse(Flags(&c), &c, []string{"--redis=" + url}, func(string) string { return "" })
		if (err == nil) != ok {
			t.Errorf("%s: got %v, want accepted: %v", url, err, ok)
		}
		if err != nil && (strings.Contains(err.Error(), "hunter2") || !strings.HasPrefix(err.Error(), "--redis: ")) {
			t.Errorf("%s: the error is %v", url, err)
		}
	}
}

func TestPasswordOfRedisComesFromItsVariable(t *testing.T) {
	var c Config
	err := Parse(Flags(&c), &c, []string{"--redis=redis://redis.test"}, func(name string) string {
		return map[string]string{"REDIS_PASSWORD": "hunter2"}[name]
	})
	if err != nil || c.RedisPassword != "hunter2" {
		t.Errorf("got %q, %v", c.RedisPassword, err)
	}
}

func TestOptionsOfRedisNeedItAndHaveTheirForm(t *testing.T) {
	for _, args := range [][]string{
		{"--redis-password-file=x"}, {"--redis-seal-key=x"}, {"--redis-prefix="}, {"--redis-prefix={a}"}, {"--redis-prefix=a b"}, {"--redis-ttl=0s"}, {"--redis-ttl=-1h"},
	} {
		var c Config
		name, _, _ := strings.Cut(args[0], "=")
		if err := Parse(Flags(&c), &c, args, func(string) string { return "" }); err == nil || !strings.HasPrefix(err.Error(), name+": ") {
			t.Errorf("%q: got %v", args, err)
		}
	}
}
