package sip

import (
	"strconv"
	"sync/atomic"

	"github.com/emiago/sipgo/sip"
	"github.com/prometheus/client_golang/prometheus"
)

// methods are told apart in the counts; the last stands for all others, which anybody may invent.
var methods = [...]string{
	"INVITE", "ACK", "CANCEL", "BYE", "OPTIONS", "INFO", "UPDATE", "PRACK", "REGISTER", "REFER", "NOTIFY", "SUBSCRIBE", "MESSAGE", "other",
}

// traffic counts messages.
type traffic struct {
	requestsIn, requestsOut   [len(methods)]atomic.Uint64
	responsesIn, responsesOut [7]atomic.Uint64 // by class; 0 for what is none
}

func count(by *[len(methods)]atomic.Uint64, m sip.RequestMethod) {
	for i, name := range methods[:len(methods)-1] {
		if string(m) == name {
			by[i].Add(1)
			return
		}
	}
	by[len(methods)-1].Add(1)
}

func countClass(by *[7]atomic.Uint64, code int) {
	if class := code / 100; class >= 1 && class <= 6 {
		by[class].Add(1)
		return
	}
	by[0].Add(1)
}

var (
	legsDesc = prometheus.NewDesc("offhook_sip_legs", "Legs that are not over, by state.", []string{"state"}, nil)
	txDesc   = prometheus.NewDesc("offhook_sip_transactions", "Requests received that are not done with.", nil, nil)
	connDesc = prometheus.NewDesc("offhook_sip_connections", "TCP connections that peers opened.", nil, nil)
	dropDesc = prometheus.NewDesc("offhook_sip_dropped_total",
		"Messages refused before a leg or transaction, by reason: stranger (no trunk lists the source), rate (too many from its source), "+
			"transactions and connections (too many at once), malformed, shut-out (its source showed too many wrong passwords).", []string{"reason"}, nil)
	authDesc   = prometheus.NewDesc("offhook_sip_authentications_total", "Digest authentication of phones: challenge (credentials were asked for), failure (they were wrong).", []string{"result"}, nil)
	regDesc    = prometheus.NewDesc("offhook_sip_registrations_total", "REGISTER requests that were answered 200.", nil, nil)
	shutDesc   = prometheus.NewDesc("offhook_sip_sources_shut_out", "Sources that are shut out because they showed too many wrong passwords.", nil, nil)
	upDesc     = prometheus.NewDesc("offhook_sip_trunk_target_up", "1 while a target of a trunk answers its pings, else 0; of trunks that ping.", []string{"trunk", "target"}, nil)
	signedDesc = prometheus.NewDesc("offhook_sip_trunk_registered", "1 while the registration with a carrier stands, else 0; of trunks that register.", []string{"trunk"}, nil)
	reqInDesc  = prometheus.NewDesc("offhook_sip_requests_received_total", "SIP requests received, copies included.", []string{"method"}, nil)
	reqOutDesc = prometheus.NewDesc("offhook_sip_requests_sent_total", "SIP requests sent, retransmissions not included.", []string{"method"}, nil)
	resInDesc  = prometheus.NewDesc("offhook_sip_responses_received_total", "SIP responses received, by class.", []string{"status"}, nil)
	resOutDesc = prometheus.NewDesc("offhook_sip_responses_sent_total", "SIP responses sent, by class; retransmissions not included.", []string{"status"}, nil)
)

var _ prometheus.Collector = (*Endpoint)(nil)

// Describe implements prometheus.Collector.
func (e *Endpoint) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{legsDesc, txDesc, connDesc, dropDesc, authDesc, regDesc, shutDesc, upDesc, signedDesc, reqInDesc, reqOutDesc, resInDesc, resOutDesc} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (e *Endpoint) Collect(ch chan<- prometheus.Metric) {
	s := e.Stats()
	gauge := func(d *prometheus.Desc, n int, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, float64(n), labels...)
	}
	counter := func(d *prometheus.Desc, n uint64, label string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(n), label)
	}
	for state, n := range s.Legs {
		gauge(legsDesc, n, state)
	}
	gauge(txDesc, s.Transactions)
	gauge(connDesc, s.Connections)
	counter(dropDesc, s.Strangers, "stranger")
	counter(dropDesc, s.OverRate, "rate")
	counter(dropDesc, s.OverLimit, "transactions")
	counter(dropDesc, s.OverConnections, "connections")
	counter(dropDesc, s.Malformed, "malformed")
	counter(dropDesc, s.ShutOut, "shut-out")
	counter(authDesc, s.Challenges, "challenge")
	counter(authDesc, s.AuthFailures, "failure")
	gauge(shutDesc, s.Shut)
	ch <- prometheus.MustNewConstMetric(regDesc, prometheus.CounterValue, float64(s.Registrations))
	for _, t := range e.keeper.list() {
		n := 0
		if t.up {
			n = 1
		}
		if t.target == "" {
			gauge(signedDesc, n, t.trunk)
		} else {
			gauge(upDesc, n, t.trunk, t.target)
		}
	}
	for i, m := range methods {
		counter(reqInDesc, e.traffic.requestsIn[i].Load(), m)
		counter(reqOutDesc, e.traffic.requestsOut[i].Load(), m)
	}
	for class := 1; class <= 6; class++ {
		counter(resInDesc, e.traffic.responsesIn[class].Load(), strconv.Itoa(class)+"xx")
		counter(resOutDesc, e.traffic.responsesOut[class].Load(), strconv.Itoa(class)+"xx")
	}
}
