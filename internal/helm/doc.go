// Package helm holds the tests of the Helm chart in deploy/helm. It is a module of its own, since Helm
// and the types of Kubernetes are large, and the program needs neither.
package helm
