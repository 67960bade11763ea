package tools

type statusIn struct{}

type statusOut struct {
	Hosts []hostStatus `json:"hosts"`
	Queue queueStatus  `json:"queue" jsonschema:"calls that wait for a slot"`
	Calls callStatus   `json:"calls" jsonschema:"since the server started"`
	Rates rateStatus   `json:"rates" jsonschema:"per second, in about the last minute"`

	Cache   cacheStatus    `json:"cache" jsonschema:"answers that are kept"`
	Ladders []ladderStatus `json:"ladders,omitempty" jsonschema:"models with others behind them, whose first does badly"`
}

type hostStatus struct {
	Name      string         `json:"name"`
	Well      bool           `json:"well" jsonschema:"is given calls"`
	Why       string         `json:"why,omitempty" jsonschema:"it is not well"`
	Version   string         `json:"version,omitempty" jsonschema:"of Ollama"`
	Busy      int            `json:"busy" jsonschema:"slots that are taken"`
	Slots     int            `json:"slots" jsonschema:"calls it is given at once"`
	Learned   bool           `json:"slots_learned" jsonschema:"from how it answers; else as it was set"`
	Fewest    int            `json:"slots_fewest" jsonschema:"it may have"`
	Most      int            `json:"slots_most" jsonschema:"it may have"`
	Reason    string         `json:"slots_reason,omitempty" jsonschema:"of their last change"`
	Breaker   string         `json:"breaker" jsonschema:"closed, open (it is left alone) or half-open (a call may try it)"`
	Until     string         `json:"ejected_until,omitempty" jsonschema:"when a call may try it"`
	Latency   float64        `json:"latency_seconds,omitempty" jsonschema:"of calls answered of late, loading not counted"`
	Installed int            `json:"models_installed,omitempty"`
	Loaded    []loadedStatus `json:"models_loaded,omitempty" jsonschema:"in memory when it was last looked at"`
}

type loadedStatus struct {
	Model   string  `json:"model"`
	Context int     `json:"context,omitempty" jsonschema:"tokens it was loaded with"`
	VRAM    float64 `json:"vram_share" jsonschema:"part of it on the GPU, 0 to 1"`
	Expires string  `json:"expires_at,omitempty" jsonschema:"when it is unloaded; absent if never"`
}

type queueStatus struct {
	Waiting     int            `json:"waiting"`
	Interactive int            `json:"interactive" jsonschema:"of these"`
	Batch       int            `json:"batch" jsonschema:"of these"`
	Bytes       int64          `json:"bytes" jsonschema:"of their prompts"`
	Callers     map[string]int `json:"callers,omitempty" jsonschema:"how many of each wait"`
}

type callStatus struct {
	Calls       uint64  `json:"calls" jsonschema:"requests to hosts: the sum of the next six"`
	Served      uint64  `json:"served" jsonschema:"answered"`
	Failed      uint64  `json:"failed" jsonschema:"on all hosts asked"`
	Cancelled   uint64  `json:"cancelled" jsonschema:"given up by their callers, or out of time, on a host"`
	GaveUp      uint64  `json:"gave_up" jsonschema:"the same, in the queue"`
	Refused     uint64  `json:"refused" jsonschema:"turned away: the queue was full, or no host there"`
	Open        uint64  `json:"open" jsonschema:"not ended yet"`
	TriesFailed uint64  `json:"tries_failed" jsonschema:"by a host's fault"`
	Retried     uint64  `json:"retried" jsonschema:"tries beyond the first"`
	RetriesLeft int     `json:"retries_left" jsonschema:"that the budget allows now"`
	Hedged      uint64  `json:"hedged" jsonschema:"tries beside a host that was late"`
	HedgesWon   uint64  `json:"hedges_won" jsonschema:"those that answered first"`
	InFlight    int     `json:"in_flight" jsonschema:"tries on hosts now"`
	Pace        float64 `json:"seconds_per_call,omitempty" jsonschema:"that a slot is held, of late"`
	PerSecond   float64 `json:"capacity_per_second,omitempty" jsonschema:"calls served of late while all slots were taken"`
}

type rateStatus struct {
	Calls  float64 `json:"calls" jsonschema:"that came"`
	Served float64 `json:"served"`
	Failed float64 `json:"failed"`
	Growth float64 `json:"queue_growth" jsonschema:"below 0 while the queue shrinks"`
}

type cacheStatus struct {
	Entries   int64   `json:"entries"`
	Bytes     int64   `json:"bytes"`
	Hits      uint64  `json:"hits" jsonschema:"calls answered with a kept answer"`
	Misses    uint64  `json:"misses" jsonschema:"calls that found none"`
	Coalesced uint64  `json:"coalesced" jsonschema:"calls that shared the answer to one in flight"`
	Refused   uint64  `json:"refused" jsonschema:"answers not kept: too large, or others are read more often"`
	Evicted   uint64  `json:"evicted" jsonschema:"to make room"`
	Expired   uint64  `json:"expired"`
	Saved     float64 `json:"seconds_saved" jsonschema:"that hits and shared answers would have taken"`

	Semantic *semanticStatus `json:"semantic,omitempty" jsonschema:"questions in other words"`
}

type semanticStatus struct {
	Entries  int            `json:"entries" jsonschema:"questions that are known"`
	Bytes    int64          `json:"bytes"`
	Hits     uint64         `json:"hits"`
	Shadow   uint64         `json:"would_be_hits" jsonschema:"only counted"`
	Cached   uint64         `json:"vectors_cached" jsonschema:"embeddings of prompts that were found in the cache"`
	Requests uint64         `json:"embedding_requests" jsonschema:"embedding requests sent for prompts to compare"`
	Refused  map[string]int `json:"refused" jsonschema:"look-ups by the reason why they found nothing"`
	Nearest  map[string]int `json:"similarity" jsonschema:"look-ups by how near the nearest question was, at most"`
}

type ladderStatus struct {
	Model  string `json:"model"`
	State  string `json:"state" jsonschema:"overloaded, degraded or recovering"`
	Since  string `json:"since"`
	Reason string `json:"reason"`
}
