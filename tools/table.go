package tools

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"

	mcpserver "github.com/mark3labs/mcp-go/server"

	"ollama-mcp/internal/caller"
	"ollama-mcp/internal/nearest"
)

// This file is the one table of tools: what clients are told of each, and what it may change.
// Hints, permissions and the options --tools, --no-tools and --read-only follow from it.

// about is what the table has on a tool. Clients pay for its words on every request, and
// hosts that search among many tools go by them: few words, but those that users say.
type about struct {
	name   string // kebab-case, at most 32 characters
	title  string // for people
	text   string // for models
	hints  hints
	admin  bool         // only administrators may call it
	manage bool         // it changes which models are installed, which has to be allowed
	asks   bool         // it needs the consent of the user
	output reflect.Type // of the structured content; nil for tools that answer in text

	slow      bool // it may take long: a call that has waited long enough goes on as a job
	unlimited bool // its calls are no work of their own: neither limits nor lists of permitted tools are for them
}

// hints describe a tool's behaviour. All four are always stated, since clients
// assume the worst of what is left out.
type hints struct{ readOnly, destructive, idempotent, openWorld bool }

var (
	// usesModel is the behaviour of tools that have a model write text: they change nothing,
	// and no two answers need be alike.
	usesModel = hints{readOnly: true}
	// looks is the behaviour of tools that only look.
	looks = hints{readOnly: true, idempotent: true}
	// changes is the behaviour of tools that change what is in memory, and lose nothing.
	changes = hints{idempotent: true}
	// replaces is the behaviour of tools that may remove a model from disk.
	replaces = hints{idempotent: true, destructive: true}
)

// tool is a row of the table.
type tool struct {
	make func(Deps, about) mcpserver.ServerTool
	about
}

// table has all tools, in the order of the documentation.
var table = []tool{
	{generate, about{
		name: "generate", title: "Generate text", hints: usesModel, slow: true,
		text: "Ask a local model to answer or continue one prompt. For a conversation use chat.",
	}},
	{chat, about{
		name: "chat", title: "Chat", hints: usesModel, slow: true,
		text: "Ask a local model for the next message of a conversation. With tools the answer may be tool_calls, for you to carry out and send back as messages of role tool.",
	}},
	{embed, about{
		name: "embed", title: "Embed texts", hints: looks, slow: true,
		text:   "Turn texts into vectors that can be compared for meaning.",
		output: reflect.TypeFor[embedOut](),
	}},
	{choose, about{
		name: "choose", title: "Choose a label", hints: looks, slow: true,
		text: "Classify a text: have a local model choose one of your labels, with the probability of each and a confidence.",
	}},
	{rank, about{
		name: "rank", title: "Rank texts", hints: looks, slow: true,
		text: "Order texts or files by how similar in meaning they are to a query.",
	}},
	{mapTool, about{
		name: "map", title: "Ask a local model about many inputs", hints: usesModel, slow: true,
		text: "Put one prompt to a local model for each of many texts, objects, lines or files: classify, extract, translate or summarise in bulk.",
	}},
	{job, about{
		name: jobTool, title: "Get the result of a job", hints: hints{readOnly: true}, unlimited: true,
		text: "Wait for the result of a call that went on as a job, cancel the job, or list all.",
	}},
	{listModels, about{
		name: "list-models", title: "List models", hints: looks,
		text:   "List the models that are installed, what each can do and whether it is in memory.",
		output: reflect.TypeFor[listModelsOut](),
	}},
	{showModel, about{
		name: "show-model", title: "Show model", hints: looks,
		text:   "Describe one model: capabilities, context length, options, template, license, memory needs.",
		output: reflect.TypeFor[showOut](),
	}},
	{listRunning, about{
		name: "list-running", title: "List loaded models", hints: looks,
		text:   "List the models that are in memory, on the GPU or not, and for how long.",
		output: reflect.TypeFor[runningOut](),
	}},
	{loadModel, about{
		name: "load-model", title: "Load model", hints: changes, slow: true,
		text:   "Load a model into memory before it is needed.",
		output: reflect.TypeFor[managedOut](),
	}},
	{unloadModel, about{
		name: "unload-model", title: "Unload model", hints: changes,
		text:   "Free the memory that a model takes.",
		output: reflect.TypeFor[managedOut](),
	}},
	{pullModel, about{
		name: "pull-model", title: "Pull model", hints: hints{idempotent: true, openWorld: true}, slow: true, admin: true, manage: true,
		text:   "Download and install a model, or update it. Large ones take long.",
		output: reflect.TypeFor[managedOut](),
	}},
	{copyModel, about{
		name: "copy-model", title: "Copy model", hints: replaces, admin: true, manage: true,
		text:   "Give an installed model a second name.",
		output: reflect.TypeFor[managedOut](),
	}},
	{deleteModel, about{
		name: "delete-model", title: "Delete model", hints: replaces, admin: true, manage: true, asks: true,
		text:   "Remove an installed model from disk. The user has to agree.",
		output: reflect.TypeFor[managedOut](),
	}},
	{createModel, about{
		name: "create-model", title: "Create model", hints: replaces, slow: true, admin: true, manage: true,
		text:   "Make a model from an installed one or a GGUF file, with instructions, options or a template of its own.",
		output: reflect.TypeFor[managedOut](),
	}},
	{status, about{
		name: "status", title: "Status", hints: looks,
		text:   "Show the state of hosts, queue and cache: slots, models in memory, failures, retries, cache hits.",
		output: reflect.TypeFor[statusOut](),
	}},
	{showUsage, about{
		name: "usage", title: "Usage of models", hints: looks,
		text:   "Show what you have used: calls, tokens and time by model and day, and the daily budget.",
		output: reflect.TypeFor[usageOut](),
	}},
	{clearCache, about{
		name: "clear-cache", title: "Clear cache", hints: hints{idempotent: true, destructive: true}, admin: true,
		text:   "Remove all cached answers, or those of one model. For administrators.",
		output: reflect.TypeFor[clearCacheOut](),
	}},
}

// Offer says which tools are offered, and under which names. The zero Offer is all tools that
// leave what is installed on the hosts as it is. In Only and Without, a name may be written
// with - or _, and one that ends in * stands for all that begin so.
type Offer struct {
	Only     []string // nothing but these; nil for all
	Without  []string // not these
	ReadOnly bool     // only tools that change nothing
	Manage   bool     // also tools that change which models are installed
	Snake    bool     // names with _ instead of -
}

// Check refuses names that stand for no tool, and those of tools that are not offered for
// another reason.
func (o Offer) Check() error {
	for _, list := range [][]string{o.Only, o.Without} {
		for _, pattern := range list {
			if err := o.check(pattern); err != nil {
				return err
			}
		}
	}
	if !slices.ContainsFunc(table, o.has) {
		return errors.New("no tool is left to offer")
	}
	return nil
}

func (o Offer) check(pattern string) error {
	i := slices.IndexFunc(table, func(t tool) bool { return caller.Matches([]string{pattern}, t.name) })
	switch {
	case i < 0:
		names := Names()
		if near := nearest.Names(kebab(pattern), names, 1); len(near) > 0 {
			return fmt.Errorf("there is no tool %q: did you mean %q?", pattern, near[0])
		}
		return fmt.Errorf("there is no tool %q; there are: %s", pattern, strings.Join(names, ", "))
	case table[i].manage && !o.Manage && kebab(pattern) == table[i].name && slices.Contains(o.Only, pattern):
		return fmt.Errorf("%s changes which models are installed, which needs --allow-manage", table[i].name)
	case !table[i].hints.readOnly && o.ReadOnly && kebab(pattern) == table[i].name && slices.Contains(o.Only, pattern):
		return fmt.Errorf("%s is not a tool that only reads, as --read-only wants", table[i].name)
	}
	return nil
}

// has reports whether a tool is offered.
func (o Offer) has(t tool) bool {
	wanted := len(o.Only) == 0 || caller.Matches(o.Only, t.name)
	if t.name == jobTool { // which calls of the others may need
		wanted = wanted || slices.ContainsFunc(table, func(other tool) bool { return other.slow && o.has(other) })
	}
	return wanted && !caller.Matches(o.Without, t.name) && (!o.ReadOnly || t.hints.readOnly) && (!t.manage || o.Manage)
}

// NotOffered says which option keeps a tool from being offered, however its name is written; "" if none does, or there
// is no such tool at all.
func (o Offer) NotOffered(name string) (why string) {
	i := slices.IndexFunc(table, func(t tool) bool { return t.name == kebab(name) })
	switch {
	case i < 0 || o.has(table[i]):
		return ""
	case table[i].manage && !o.Manage:
		return "tools that change which models are installed need --allow-manage"
	case !table[i].hints.readOnly && o.ReadOnly:
		return "the server was started with --read-only"
	}
	return "--tools or --no-tools leaves it out"
}

// rows are the rows of the table that are offered, in their order.
func (o Offer) rows() []tool {
	return slices.DeleteFunc(slices.Clone(table), func(t tool) bool { return !o.has(t) })
}

// offers reports whether the tool of that name is offered.
func (o Offer) offers(name string) bool {
	return slices.ContainsFunc(table, func(t tool) bool { return t.name == name && o.has(t) })
}

// spelling returns the replacer that writes names of tools in a text as they are listed, nil
// for none.
func (o Offer) spelling() *strings.Replacer {
	if !o.Snake {
		return nil
	}
	var pairs []string
	for _, t := range table {
		if snake := strings.ReplaceAll(t.name, "-", "_"); snake != t.name {
			pairs = append(pairs, t.name, snake)
		}
	}
	return strings.NewReplacer(pairs...)
}

// spell returns one of our own texts with the names of tools in it as they are listed.
func (d Deps) spell(text string) string {
	if d.spelling == nil {
		return text
	}
	return d.spelling.Replace(text)
}

// Slow are the offered tools whose calls may become jobs, or tasks of the protocol, by the names
// that are listed.
func Slow(o Offer) map[string]bool {
	slow, d := make(map[string]bool), Deps{spelling: o.spelling()}
	for _, t := range o.rows() {
		if t.slow {
			slow[d.spell(t.name)] = false
		}
	}
	return slow
}

// Direct are the offered tools that ask their client nothing, by the names that are listed.
func Direct(o Offer) (names []string) {
	d := Deps{spelling: o.spelling()}
	for _, t := range o.rows() {
		if !t.asks {
			names = append(names, d.spell(t.name))
		}
	}
	return names
}

// ReplacedByTasks are the tools that clients with the protocol's tasks have no use for.
var ReplacedByTasks = []string{jobTool}

// kebab is the name of a tool as the table has it.
func kebab(name string) string { return strings.ReplaceAll(name, "_", "-") }

// MayCall reports whether a caller may call a tool, whichever way its name is written. Who may
// call a tool that may become a job may ask for the job.
func MayCall(who caller.Caller, name string) bool {
	if name == jobTool {
		return slices.ContainsFunc(table, func(t tool) bool { return t.slow && who.MayCall(t.name) })
	}
	isForAdmins := slices.ContainsFunc(table, func(t tool) bool { return t.admin && t.name == kebab(name) })
	return who.MayCall(name) && (who.For(name).Admin || !isForAdmins)
}

// Names are the names of all tools, in the order of the table.
func Names() []string {
	names := make([]string, len(table))
	for i, t := range table {
		names[i] = t.name
	}
	return names
}
