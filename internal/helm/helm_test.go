package helm_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"

	"helm.sh/helm/v3/pkg/chart/loader"
	"helm.sh/helm/v3/pkg/chartutil"
	"helm.sh/helm/v3/pkg/engine"
	"helm.sh/helm/v3/pkg/lint"
	"helm.sh/helm/v3/pkg/lint/support"
	appsv1 "k8s.io/api/apps/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"sigs.k8s.io/yaml"
)

const chart = "../../deploy/helm/ollama-mcp"

// serviceMonitor is what the chart uses of the type of the Prometheus Operator.
type serviceMonitor struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata"`
	Spec              struct {
		Selector  metav1.LabelSelector `json:"selector"`
		Endpoints []struct {
			Port     string `json:"port"`
			Path     string `json:"path"`
			Interval string `json:"interval"`

			Authorization *struct {
				Credentials corev1.SecretKeySelector `json:"credentials"`
			} `json:"authorization"`
		} `json:"endpoints"`
	} `json:"spec"`
}

// scaledObject is what the chart uses of the type of KEDA.
type scaledObject struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata"`
	Spec              struct {
		ScaleTargetRef struct {
			APIVersion string `json:"apiVersion"`
			Kind       string `json:"kind"`
			Name       string `json:"name"`
		} `json:"scaleTargetRef"`
		MinReplicaCount *int32 `json:"minReplicaCount"`
		MaxReplicaCount *int32 `json:"maxReplicaCount"`
		CooldownPeriod  *int32 `json:"cooldownPeriod"`
		Triggers        []struct {
			Type       string            `json:"type"`
			MetricType string            `json:"metricType"`
			Metadata   map[string]string `json:"metadata"`
		} `json:"triggers"`
	} `json:"spec"`
}

// kinds are all kinds of objects that the chart may make.
var kinds = map[string]func() any{
	"v1 ConfigMap":                            func() any { return new(corev1.ConfigMap) },
	"v1 Secret":                               func() any { return new(corev1.Secret) },
	"v1 Service":                              func() any { return new(corev1.Service) },
	"v1 ServiceAccount":                       func() any { return new(corev1.ServiceAccount) },
	"apps/v1 Deployment":                      func() any { return new(appsv1.Deployment) },
	"apps/v1 StatefulSet":                     func() any { return new(appsv1.StatefulSet) },
	"autoscaling/v2 HorizontalPodAutoscaler":  func() any { return new(autoscalingv2.HorizontalPodAutoscaler) },
	"policy/v1 PodDisruptionBudget":           func() any { return new(policyv1.PodDisruptionBudget) },
	"networking.k8s.io/v1 NetworkPolicy":      func() any { return new(networkingv1.NetworkPolicy) },
	"monitoring.coreos.com/v1 ServiceMonitor": func() any { return new(serviceMonitor) },
	"keda.sh/v1alpha1 ScaledObject":           func() any { return new(scaledObject) },
}

// objects are those that the chart makes of some values, by kind and name.
type objects map[string]any

// get returns an object of a kind and name.
func get[T any](t *testing.T, all objects, kind, name string) *T {
	t.Helper()
	o, ok := all[kind+" "+name].(*T)
	if !ok {
		t.Fatalf("there is no %s %s; there are %q", kind, name, slices.Sorted(maps.Keys(all)))
	}
	return o
}

// render renders the chart, as helm template does.
func render(values string) (objects, error) {
	c, err := loader.Load(chart)
	if err != nil {
		return nil, err
	}
	set, err := chartutil.ReadValues([]byte(values))
	if err != nil {
		return nil, err
	}
	release := chartutil.ReleaseOptions{Name: "team", Namespace: "ai", IsInstall: true}
	caps := chartutil.DefaultCapabilities.Copy()
	caps.KubeVersion = chartutil.KubeVersion{Version: "v1.34.0", Major: "1", Minor: "34"}
	all, err := chartutil.ToRenderValues(c, set, release, caps)
	if err != nil {
		return nil, err
	}
	files, err := engine.Render(c, all)
	if err != nil {
		return nil, err
	}
	found := objects{}
	for name, text := range files {
		if !strings.HasSuffix(name, ".yaml") {
			continue
		}
		for _, document := range strings.Split("\n"+text, "\n---\n") {
			if err := found.add(document); err != nil {
				return nil, fmt.Errorf("%s: %w\n%s", name, err, document)
			}
		}
	}
	return found, nil
}

// add decodes an object into its type, in which it may have no field that the type has not.
func (all objects) add(document string) error {
	var head struct {
		metav1.TypeMeta `json:",inline"`
		Metadata        struct {
			Name   string            `json:"name"`
			Labels map[string]string `json:"labels"`
		} `json:"metadata"`
	}
	if err := yaml.Unmarshal([]byte(document), &head); err != nil {
		return err
	}
	if head.Kind == "" {
		return nil // comments
	}
	make := kinds[head.APIVersion+" "+head.Kind]
	if make == nil {
		return fmt.Errorf("unexpected kind %s %s", head.APIVersion, head.Kind)
	}
	o := make()
	if err := yaml.UnmarshalStrict([]byte(document), o); err != nil {
		return err
	}
	for _, label := range []string{"app.kubernetes.io/name", "app.kubernetes.io/instance", "app.kubernetes.io/component"} {
		if head.Metadata.Labels[label] == "" {
			return fmt.Errorf("no label %s", label)
		}
	}
	key := head.Kind + " " + head.Metadata.Name
	if all[key] != nil {
		return fmt.Errorf("%s is there twice", key)
	}
	all[key] = o
	return nil
}

const base = "auth: {existingSecret: keys}\n"

func mustRender(t *testing.T, values string) objects {
	t.Helper()
	all, err := render(values)
	if err != nil {
		t.Fatalf("%s: %v", values, err)
	}
	return all
}

// choices are values, of each of which the matrix takes one.
var choices = [][]string{
	{"auth: {existingSecret: keys}", "auth: {insecure: true}"},
	{"replicas: 3", "autoscaling: {enabled: true}"},
	{"podDisruptionBudget: {enabled: false}", "podDisruptionBudget: {minAvailable: 50%}"},
	{"networkPolicy: {enabled: false}", "networkPolicy: {from: [{namespaceSelector: {matchLabels: {team: a}}}], metricsFrom: [{podSelector: {}}]}"},
	{"serviceMonitor: {enabled: false}", "serviceMonitor: {enabled: true, labels: {release: prometheus}, tokenSecret: {name: metrics, key: token}}"},
	{
		"ollama: {enabled: false}\nconfig: {hosts: [{url: 'http://gpu-1:11434', slots: 4}]}",
		"ollama: {replicas: 3, models: ['qwen3:8b', 'hf.co/a/b:Q4_K_M'], runtimeClassName: nvidia, storage: {className: fast}, nodeSelector: {gpu: 'yes'}, tolerations: [{key: gpu, operator: Exists}]}",
		"ollama: {keda: {enabled: true, prometheus: 'http://prometheus.monitoring:9090'}}\nconfig: {models: {'qwen3:8b': {num_ctx: 8192}}}",
	},
	{
		"session: {existingSecret: session}\nredis: {url: 'rediss://redis:6379', passwordSecret: redis}",
		"env: [{name: OPENAI_API_KEY, valueFrom: {secretKeyRef: {name: openai, key: key}}}]\nimagePullSecrets: [{name: registry}]\npodAnnotations: {a: b}\nservice: {type: LoadBalancer, annotations: {c: d}}",
	},
}

// matrix goes through all combinations of the choices.
func matrix(each func(values string)) {
	chosen := make([]string, len(choices))
	var choose func(i int)
	choose = func(i int) {
		if i == len(choices) {
			each(strings.Join(chosen, "\n"))
			return
		}
		for _, chosen[i] = range choices[i] {
			choose(i + 1)
		}
	}
	choose(0)
}

func TestEveryManifestHasOnlyFieldsOfItsType(t *testing.T) {
	n := 0
	matrix(func(values string) {
		n++
		all, err := render(values)
		if err != nil {
			t.Errorf("%s\n%v", values, err)
			return
		}
		if err := consistent(all); err != nil {
			t.Errorf("%s\n%v", values, err)
		}
	})
	t.Logf("%d combinations of values", n)
}

// consistent reports whether the objects fit each other: selectors find the pods that they are for,
// and what is referred to is there.
func consistent(all objects) error {
	d := all["Deployment team-ollama-mcp"].(*appsv1.Deployment)
	pods := []corev1.PodTemplateSpec{d.Spec.Template}
	if s, ok := all["StatefulSet team-ollama-mcp-ollama"].(*appsv1.StatefulSet); ok {
		pods = append(pods, s.Spec.Template)
		if all["Service "+s.Spec.ServiceName] == nil {
			return fmt.Errorf("no service %s", s.Spec.ServiceName)
		}
	}
	found := func(selector map[string]string) (n int) {
		for _, p := range pods {
			if labels.SelectorFromSet(selector).Matches(labels.Set(p.Labels)) {
				n++
			}
		}
		return n
	}
	for name, o := range all {
		var selectors []map[string]string
		switch o := o.(type) {
		case *corev1.Service:
			selectors = append(selectors, o.Spec.Selector)
			for _, p := range o.Spec.Ports {
				if !slices.ContainsFunc(pods, func(pod corev1.PodTemplateSpec) bool {
					return found(o.Spec.Selector) > 0 && slices.ContainsFunc(pod.Spec.Containers[0].Ports, func(c corev1.ContainerPort) bool { return c.Name == p.TargetPort.StrVal })
				}) {
					return fmt.Errorf("%s: no pod has the port %s", name, p.TargetPort.StrVal)
				}
			}
		case *policyv1.PodDisruptionBudget:
			selectors = append(selectors, o.Spec.Selector.MatchLabels)
		case *networkingv1.NetworkPolicy:
			selectors = append(selectors, o.Spec.PodSelector.MatchLabels)
		case *appsv1.Deployment:
			selectors = append(selectors, o.Spec.Selector.MatchLabels)
		case *appsv1.StatefulSet:
			selectors = append(selectors, o.Spec.Selector.MatchLabels)
		}
		for _, s := range selectors {
			if found(s) != 1 {
				return fmt.Errorf("%s selects %d of our kinds of pods, want 1", name, found(s))
			}
		}
	}
	for _, v := range d.Spec.Template.Spec.Volumes {
		if v.ConfigMap != nil && all["ConfigMap "+v.ConfigMap.Name] == nil {
			return fmt.Errorf("no ConfigMap %s", v.ConfigMap.Name)
		}
		own := strings.HasPrefix(v.Name, "session") && v.Secret.SecretName != "session"
		if own && all["Secret "+v.Secret.SecretName] == nil {
			return fmt.Errorf("no Secret %s", v.Secret.SecretName)
		}
	}
	return nil
}

func TestPodsHaveNoPrivileges(t *testing.T) {
	all := mustRender(t, base)
	for _, pod := range []corev1.PodSpec{
		get[appsv1.Deployment](t, all, "Deployment", "team-ollama-mcp").Spec.Template.Spec,
		get[appsv1.StatefulSet](t, all, "StatefulSet", "team-ollama-mcp-ollama").Spec.Template.Spec,
	} {
		c := pod.Containers[0]
		own := c.SecurityContext
		if !*pod.SecurityContext.RunAsNonRoot || *pod.SecurityContext.RunAsUser == 0 || pod.SecurityContext.SeccompProfile.Type != corev1.SeccompProfileTypeRuntimeDefault ||
			*own.AllowPrivilegeEscalation || *own.Privileged || !*own.ReadOnlyRootFilesystem || !slices.Equal(own.Capabilities.Drop, []corev1.Capability{"ALL"}) || len(own.Capabilities.Add) > 0 {
			t.Errorf("%s: privileges: %+v of the pod, %+v of its own", c.Name, pod.SecurityContext, own)
		}
		if *pod.AutomountServiceAccountToken || pod.HostNetwork || pod.HostPID {
			t.Errorf("%s reaches the cluster or its machine", c.Name)
		}
		if c.Resources.Limits.Memory().IsZero() || c.ReadinessProbe == nil || c.LivenessProbe == nil {
			t.Errorf("%s: no limit of memory, or no probe", c.Name)
		}
	}
}

// Whatever the drain, Kubernetes waits for longer than the server takes, and the server for longer
// than a call may take.
func TestPodIsGivenTimeToDrain(t *testing.T) {
	for _, seconds := range []int{330, 3600} {
		all := mustRender(t, base+"drainSeconds: "+strconv.Itoa(seconds))
		pod := get[appsv1.Deployment](t, all, "Deployment", "team-ollama-mcp").Spec.Template.Spec
		pause := pod.Containers[0].Lifecycle.PreStop.Sleep.Seconds
		if *pod.TerminationGracePeriodSeconds <= int64(seconds)+pause {
			t.Errorf("%d s of grace for %d s of pause and %d s of drain", *pod.TerminationGracePeriodSeconds, pause, seconds)
		}
		c := configOf(t, all)
		if c["drain-timeout"] != fmt.Sprintf("%ds", seconds) || c["timeout"] != "5m" {
			t.Errorf("drain-timeout %v, timeout %v", c["drain-timeout"], c["timeout"])
		}
	}
}

func configOf(t *testing.T, all objects) (c map[string]any) {
	t.Helper()
	if err := yaml.UnmarshalStrict([]byte(get[corev1.ConfigMap](t, all, "ConfigMap", "team-ollama-mcp").Data["config.yaml"]), &c); err != nil {
		t.Fatal(err)
	}
	return c
}

func TestOnlyTheServerReachesOllama(t *testing.T) {
	all := mustRender(t, base)
	p := get[networkingv1.NetworkPolicy](t, all, "NetworkPolicy", "team-ollama-mcp-ollama").Spec
	server := get[appsv1.Deployment](t, all, "Deployment", "team-ollama-mcp").Spec.Template.Labels
	if len(p.Ingress) != 1 || len(p.Ingress[0].From) != 1 || p.Ingress[0].From[0].NamespaceSelector != nil || p.Ingress[0].From[0].IPBlock != nil ||
		!labels.SelectorFromSet(p.Ingress[0].From[0].PodSelector.MatchLabels).Matches(labels.Set(server)) || !slices.Contains(p.PolicyTypes, networkingv1.PolicyTypeIngress) {
		t.Errorf("got %+v", p)
	}
	if clusterIP := get[corev1.Service](t, all, "Service", "team-ollama-mcp-ollama").Spec.ClusterIP; clusterIP != corev1.ClusterIPNone {
		t.Errorf("the service of Ollama has the address %q: the server would see one host instead of all", clusterIP)
	}
	hosts, _ := json.Marshal(configOf(t, all)["hosts"])
	if want := `[{"url":"dns+http://team-ollama-mcp-ollama.ai.svc:11434"}]`; string(hosts) != want {
		t.Errorf("hosts %s, want %s", hosts, want)
	}
}

// The server refuses names that it does not know, and /metrics to all but administrators.
func TestServerCanBeReachedByItsNamesAndByProbesAndPrometheus(t *testing.T) {
	all := mustRender(t, base+"config: {allowed-host: [mcp.example.com]}\nserviceMonitor: {enabled: true, tokenSecret: {name: metrics}}")
	names, _ := json.Marshal(configOf(t, all)["allowed-host"])
	if want := `["team-ollama-mcp","team-ollama-mcp.ai","team-ollama-mcp.ai.svc","team-ollama-mcp.ai.svc.cluster.local","mcp.example.com"]`; string(names) != want {
		t.Errorf("allowed-host %s, want %s", names, want)
	}
	c := get[appsv1.Deployment](t, all, "Deployment", "team-ollama-mcp").Spec.Template.Spec.Containers[0]
	for path, probe := range map[string]*corev1.Probe{"/healthz": c.LivenessProbe, "/readyz": c.ReadinessProbe} {
		if got := probe.HTTPGet; got.Path != path || len(got.HTTPHeaders) != 1 || got.HTTPHeaders[0] != (corev1.HTTPHeader{Name: "Host", Value: "localhost"}) {
			t.Errorf("a probe is %+v, want one of %s at localhost", got, path)
		}
	}
	endpoint := get[serviceMonitor](t, all, "ServiceMonitor", "team-ollama-mcp").Spec.Endpoints[0]
	if endpoint.Authorization == nil || endpoint.Authorization.Credentials.Name != "metrics" || endpoint.Authorization.Credentials.Key != "token" {
		t.Errorf("Prometheus has the credentials %+v", endpoint.Authorization)
	}
}

func TestOllamaIsScaledBySaturation(t *testing.T) {
	all := mustRender(t, base+"ollama: {keda: {enabled: true, prometheus: 'http://p:9090'}}")
	o := get[scaledObject](t, all, "ScaledObject", "team-ollama-mcp-ollama")
	if s := get[appsv1.StatefulSet](t, all, "StatefulSet", o.Spec.ScaleTargetRef.Name); s.Spec.Replicas != nil {
		t.Errorf("%d replicas are set, beside what KEDA sets", *s.Spec.Replicas)
	}
	trigger := o.Spec.Triggers[0]
	if !strings.Contains(trigger.Metadata["query"], `ollama_mcp_saturation{namespace="ai",service="team-ollama-mcp"}`) || trigger.Metadata["threshold"] != "0.7" {
		t.Errorf("got %+v", trigger)
	}
}

func TestValuesThatCannotWorkAreRefused(t *testing.T) {
	for values, want := range map[string]string{
		"":                                       "auth.existingSecret",
		base + "ollama: {enabled: false}":        "config.hosts",
		base + "ollama: {keda: {enabled: true}}": "ollama.keda.prometheus",
		base + "serviceMonitor: {enabled: true}": "tokenSecret",
		base + "ollama: {keda: {enabled: true, prometheus: 'http://p', minReplicas: 0}}": "minReplicas",
		base + "replica: 2":                        "replica",
		base + "replicas: two":                     "replicas",
		base + "service: {port: 0}":                "port",
		base + "config: {listen: ['0.0.0.0:1']}":   "config",
		base + "ollama: {models: ['a; rm -rf /']}": "models",
		base + "redis: {url: 'redis:6379'}":        "url",
	} {
		if _, err := render(values); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, want an error that names %s", values, err, want)
		}
	}
}

func TestChartHasNoLint(t *testing.T) {
	values := map[string]any{"auth": map[string]any{"existingSecret": "keys"}}
	for _, m := range lint.All(chart, values, "ai", true).Messages {
		if m.Severity > support.InfoSev {
			t.Error(m)
		}
	}
}

// helm shows the defaults to those who look for what can be set.
func TestSchemaHasEveryValue(t *testing.T) {
	c, err := loader.Load(chart)
	if err != nil {
		t.Fatal(err)
	}
	type schema struct {
		Properties map[string]json.RawMessage
		Additional *bool `json:"additionalProperties"`
	}
	var check func(path string, raw []byte, values map[string]any)
	check = func(path string, raw []byte, values map[string]any) {
		var s schema
		if err := json.NewDecoder(bytes.NewReader(raw)).Decode(&s); err != nil && err != io.EOF {
			return // additionalProperties is a schema: any key is fine
		}
		if s.Additional == nil || *s.Additional {
			return
		}
		for key := range s.Properties {
			if _, ok := values[key]; !ok && key != "global" {
				t.Errorf("%s%s is in the schema, and has no default", path, key)
			}
			if inner, ok := values[key].(map[string]any); ok {
				check(path+key+".", s.Properties[key], inner)
			}
		}
	}
	check("", c.Schema, c.Values)
}
