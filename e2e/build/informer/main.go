// Command informer is a controller as people write them with client-go: typed clients, shared informers, a dynamic
// informer of a custom resource, leader election. It is run against `weft server`.
//
//	informer KUBECONFIG
//
// For every line of standard input it creates, updates and deletes at random, waits until its caches are what a list
// of the server shows, and prints one line of JSON. It ends with its input.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"math/rand"
	"os"
	"reflect"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/dynamic/dynamicinformer"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/leaderelection"
	"k8s.io/client-go/tools/leaderelection/resourcelock"
)

const namespace = "default"

var (
	definitions = schema.GroupVersionResource{Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"}
	gadgets     = schema.GroupVersionResource{Group: "example.com", Version: "v1", Resource: "gadgets"}
)

type report struct {
	Maps    int    `json:"maps"`
	Gadgets int    `json:"gadgets"`
	Added   int    `json:"added"`
	Updated int    `json:"updated"`
	Deleted int    `json:"deleted"`
	Leader  bool   `json:"leader"`
	Error   string `json:"error,omitempty"`
}

func main() {
	config, err := clientcmd.BuildConfigFromFlags("", os.Args[1])
	check(err)
	config.QPS, config.Burst = 500, 500
	client := kubernetes.NewForConfigOrDie(config)
	dynamicClient := dynamic.NewForConfigOrDie(config)
	ctx := context.Background()
	define(ctx, dynamicClient)

	var counts report
	factory := informers.NewSharedInformerFactory(client, 0)
	maps := factory.Core().V1().ConfigMaps()
	_, err = maps.Informer().AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    func(any) { counts.Added++ },
		UpdateFunc: func(any, any) { counts.Updated++ },
		DeleteFunc: func(any) { counts.Deleted++ },
	})
	check(err)
	// Asking for an informer is what makes the factory start it.
	factory.Core().V1().Pods().Informer()
	factory.Core().V1().Services().Informer()
	factory.Core().V1().Nodes().Informer()
	factory.Apps().V1().Deployments().Informer()
	factory.Discovery().V1().EndpointSlices().Informer()
	factory.Networking().V1().NetworkPolicies().Informer()
	factory.Events().V1().Events().Informer()
	dynamicFactory := dynamicinformer.NewDynamicSharedInformerFactory(dynamicClient, 0)
	gadgetInformer := dynamicFactory.ForResource(gadgets)
	gadgetInformer.Informer()
	factory.Start(ctx.Done())
	dynamicFactory.Start(ctx.Done())
	factory.WaitForCacheSync(ctx.Done())
	dynamicFactory.WaitForCacheSync(ctx.Done())

	leading := make(chan struct{})
	go elect(ctx, client, leading)
	input := bufio.NewScanner(os.Stdin)
	fmt.Println(`{"ready":true}`)
	for input.Scan() {
		change(ctx, client, dynamicClient)
		err := settle(ctx, client, dynamicClient, maps.Lister().ConfigMaps(namespace).List, gadgetInformer.Lister().List)
		known, _ := maps.Lister().ConfigMaps(namespace).List(labels.Everything())
		custom, _ := gadgetInformer.Lister().List(labels.Everything())
		counts.Maps, counts.Gadgets = len(known), len(custom)
		select {
		case <-leading:
			counts.Leader = true
		case <-time.After(20 * time.Second):
		}
		counts.Error = ""
		if err != nil {
			counts.Error = err.Error()
		}
		check(json.NewEncoder(os.Stdout).Encode(counts))
	}
}

func define(ctx context.Context, client dynamic.Interface) {
	definition := &unstructured.Unstructured{}
	check(definition.UnmarshalJSON([]byte(`{
		"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": {"name": "gadgets.example.com"},
		"spec": {"group": "example.com", "scope": "Namespaced", "names": {"plural": "gadgets", "kind": "Gadget"},
			"versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": {"type": "object",
				"properties": {"spec": {"type": "object", "properties": {"size": {"type": "integer"}}}}}}}]}}`)))
	_, err := client.Resource(definitions).Create(ctx, definition, metav1.CreateOptions{})
	if !errors.IsAlreadyExists(err) {
		check(err)
	}
}

// Some writes of each kind; conflicts and absences are part of it.
func change(ctx context.Context, client kubernetes.Interface, dynamicClient dynamic.Interface) {
	for i := 0; i < 60; i++ {
		name := fmt.Sprintf("m%d", rand.Intn(12))
		maps := client.CoreV1().ConfigMaps(namespace)
		held, err := maps.Get(ctx, name, metav1.GetOptions{})
		switch {
		case errors.IsNotFound(err):
			object := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: name}, Data: map[string]string{"i": fmt.Sprint(i)}}
			_, err = maps.Create(ctx, object, metav1.CreateOptions{})
		case err == nil && rand.Intn(3) == 0:
			err = maps.Delete(ctx, name, *metav1.NewPreconditionDeleteOptions(string(held.UID)))
		case err == nil:
			held.Data = map[string]string{"i": fmt.Sprint(i)}
			_, err = maps.Update(ctx, held, metav1.UpdateOptions{})
		}
		check(err)
		custom := dynamicClient.Resource(gadgets).Namespace(namespace)
		gadget := &unstructured.Unstructured{Object: map[string]any{
			"apiVersion": "example.com/v1", "kind": "Gadget",
			"metadata": map[string]any{"generateName": "g-"}, "spec": map[string]any{"size": int64(i)},
		}}
		if i%6 == 0 {
			_, err = custom.Create(ctx, gadget, metav1.CreateOptions{})
			check(err)
		}
	}
}

// Until both caches hold exactly what the server lists.
func settle(
	ctx context.Context, client kubernetes.Interface, dynamicClient dynamic.Interface,
	maps func(labels.Selector) ([]*corev1.ConfigMap, error), custom cacheList,
) error {
	var err error
	for i := 0; i < 200; i++ {
		if err = compare(ctx, client, dynamicClient, maps, custom); err == nil {
			return nil
		}
		time.Sleep(100 * time.Millisecond)
	}
	return err
}

type cacheList = func(labels.Selector) ([]runtime.Object, error)

func compare(
	ctx context.Context, client kubernetes.Interface, dynamicClient dynamic.Interface,
	maps func(labels.Selector) ([]*corev1.ConfigMap, error), custom cacheList,
) error {
	listed, err := client.CoreV1().ConfigMaps(namespace).List(ctx, metav1.ListOptions{Limit: 5})
	wanted := map[string]string{}
	for err == nil {
		for _, item := range listed.Items {
			wanted[item.Name] = item.ResourceVersion + item.Data["i"]
		}
		if listed.Continue == "" {
			break
		}
		listed, err = client.CoreV1().ConfigMaps(namespace).List(ctx, metav1.ListOptions{Limit: 5, Continue: listed.Continue})
	}
	if err != nil {
		return err
	}
	held, _ := maps(labels.Everything())
	found := map[string]string{}
	for _, item := range held {
		found[item.Name] = item.ResourceVersion + item.Data["i"]
	}
	if !reflect.DeepEqual(wanted, found) {
		return fmt.Errorf("the server has %v, the cache %v", wanted, found)
	}
	all, err := dynamicClient.Resource(gadgets).Namespace(namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return err
	}
	cached, _ := custom(labels.Everything())
	if len(all.Items) != len(cached) {
		return fmt.Errorf("the server has %d gadgets, the cache %d", len(all.Items), len(cached))
	}
	return nil
}

func elect(ctx context.Context, client kubernetes.Interface, leading chan struct{}) {
	lock := &resourcelock.LeaseLock{
		LeaseMeta:  metav1.ObjectMeta{Name: "informer", Namespace: namespace},
		Client:     client.CoordinationV1(),
		LockConfig: resourcelock.ResourceLockConfig{Identity: "informer"},
	}
	leaderelection.RunOrDie(ctx, leaderelection.LeaderElectionConfig{
		Lock: lock, LeaseDuration: 60 * time.Second, RenewDeadline: 40 * time.Second, RetryPeriod: time.Second,
		Callbacks: leaderelection.LeaderCallbacks{
			OnStartedLeading: func(context.Context) { close(leading) },
			OnStoppedLeading: func() { fmt.Println(`{"error":"the lease was lost"}`) },
		},
	})
}

func check(err error) {
	if err != nil {
		fmt.Printf("{\"error\":%q}\n", err.Error())
		os.Exit(1)
	}
}
