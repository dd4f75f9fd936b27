module mlplatform/airgap/weave

go 1.26

require (
	// the revisions of its time
	github.com/Azure/go-ansiterm v0.0.0-20170929234023-d6e3b3328b78
	github.com/Microsoft/go-winio v0.4.7
	github.com/Nvveen/Gotty v0.0.0-20120604004816-cd527374f1e5
	github.com/andybalholm/go-bit v0.0.0-20150501193155-34813fe0e46a
	github.com/armon/go-socks5 v0.0.0-20160902184237-e75332964ef5
	github.com/aws/aws-sdk-go v1.13.22
	github.com/beorn7/perks v0.0.0-20180321164747-3a771d992973
	github.com/boltdb/bolt v1.3.1
	github.com/containerd/continuity v0.0.0-20180322171221-3e8f2ea4b190
	github.com/containernetworking/cni v0.5.2
	github.com/coreos/go-iptables v0.3.0
	github.com/docker/distribution v2.6.0-rc.1.0.20180327202408-83389a148052+incompatible
	github.com/docker/docker v17.12.0-ce-rc1.0.20180328155642-38588656727d+incompatible
	github.com/docker/go-connections v0.3.0
	github.com/docker/go-units v0.3.2
	github.com/docker/libnetwork v0.8.0-dev.2.0.20180212220201-119badbd737b
	github.com/docker/machine v0.14.0
	github.com/fsouza/go-dockerclient v1.2.0
	github.com/go-ini/ini v1.33.0
	github.com/google/gopacket v1.1.16
	github.com/gorilla/context v0.0.0-20160226214623-1ea25387ff6f
	github.com/gorilla/mux v1.6.1
	github.com/hashicorp/go-cleanhttp v0.0.0-20171218145408-d5fe4b57a186
	github.com/hashicorp/golang-lru v0.5.0
	github.com/inconshreveable/mousetrap v1.0.0
	github.com/j-keck/arping v0.0.0-20160618110441-2cf9dc699c56
	github.com/jmespath/go-jmespath v0.0.0-20160202185014-0b12d6b521d8

	// newer than Gopkg.lock, for Go 1.26
	github.com/json-iterator/go v1.1.12
	github.com/matttproud/golang_protobuf_extensions v1.0.0
	github.com/mdlayher/raw v0.0.0-20181016155347-fa5ef3332ca9
	github.com/mgutz/ansi v0.0.0-20170206155736-9520e82c474b
	github.com/miekg/dns v1.0.4
	github.com/modern-go/reflect2 v1.0.2
	github.com/opencontainers/go-digest v1.0.0-rc1
	github.com/opencontainers/image-spec v1.0.1
	github.com/opencontainers/runc v0.1.1
	github.com/pkg/errors v0.9.1
	github.com/pkg/profile v1.2.1
	github.com/prometheus/client_golang v0.9.0-pre1.0.20180328130430-f504d69affe1
	github.com/prometheus/client_model v0.0.0-20171117100541-99fa1f4be8e5
	github.com/prometheus/common v0.0.0-20180326160409-38c53a9f4bfc
	github.com/prometheus/procfs v0.0.0-20180321230812-780932d4fbbe
	github.com/sirupsen/logrus v1.4.2
	github.com/spf13/cobra v0.0.1
	github.com/vishvananda/netlink v1.0.0
	github.com/vishvananda/netns v0.0.0-20171111001504-be1fbeda1936
	github.com/weaveworks/common v0.0.0-20180321110636-ebab3a78900a
	github.com/weaveworks/go-checkpoint v0.0.0-20170503165305-ebbb8b0518ab
	github.com/weaveworks/go-odp v0.0.0-20181017121109-6b0aa22550d9
	github.com/weaveworks/mesh v0.0.0-20191105120815-58dbcc3e8e63
	github.com/weaveworks/weave v2.6.5+incompatible
	golang.org/x/crypto v0.31.0
	golang.org/x/net v0.33.0
	golang.org/x/sys v0.28.0
	k8s.io/api v0.0.0-20180911000052-49f236fe119e
	k8s.io/apimachinery v0.0.0-20180327062455-210bcde8e5a7
	k8s.io/client-go v8.0.0+incompatible
)

require (
	github.com/ghodss/yaml v1.0.0
	github.com/gogo/protobuf v1.0.0
	github.com/golang/glog v0.0.0-20160126235308-23def4e6c14b
	github.com/golang/protobuf v1.2.0
	github.com/google/btree v0.0.0-20180124185431-e89373fe6b4a
	github.com/google/gofuzz v1.0.0
	github.com/googleapis/gnostic v0.1.0
	github.com/gregjones/httpcache v0.0.0-20180305231024-9cad4c3443a7
	github.com/pborman/uuid v0.0.0-20170612153648-e790cca94e6c
	github.com/peterbourgon/diskv v2.0.1+incompatible
	golang.org/x/time v0.0.0-20180412165947-fbb02b2291d2
	gopkg.in/inf.v0 v0.9.1
	k8s.io/kube-openapi v0.0.0-20180731170545-e3762e86a74c
)

require (
	github.com/davecgh/go-spew v1.1.1 // indirect
	github.com/modern-go/concurrent v0.0.0-20180228061459-e0a39a4cb421 // indirect
	github.com/spf13/pflag v1.1.0 // indirect
	golang.org/x/term v0.27.0 // indirect
	golang.org/x/text v0.21.0 // indirect
	gopkg.in/yaml.v2 v2.2.2 // indirect
)

tool (
	github.com/weaveworks/weave/prog/kube-utils
	github.com/weaveworks/weave/prog/weave-npc
	github.com/weaveworks/weave/prog/weaver
	github.com/weaveworks/weave/prog/weaveutil
)
