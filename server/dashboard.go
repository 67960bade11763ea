package server

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"ollama-mcp/internal/caller"
)

// Dashboard is a page that shows administrators what the server does, and lets them act. Its
// paths are below /dashboard/, but for that of the page itself, which is /.
type Dashboard struct {
	// Files are what the page is made of, by path, "" standing for /. They hold no data, and
	// are served to everybody.
	Files map[string]http.Handler
	// Stream sends an administrator, who is the caller in the context of the request, what the page
	// shows, until that context ends, or may reports that the caller's credentials are not good any more.
	Stream func(w http.ResponseWriter, req *http.Request, may func() bool)
	// Actions are what administrators may do, by path: POST requests of the page itself.
	Actions map[string]http.HandlerFunc
}

const (
	pathSession = "/dashboard/session"
	pathEvents  = "/dashboard/events"

	// headerToken has the secret of a session, which pages of other sites cannot know, in the
	// requests that act.
	headerToken = "X-Dashboard-Token"

	maxLogins    = 100            // at once; one of the caller with the most is dropped
	loginIdle    = time.Hour      // after which an unused login is dropped
	loginTime    = 12 * time.Hour // after which any is
	maxLoginBody = 16 << 10       // bytes; access tokens may be long
)

// logins are the browsers in which a key has been entered.
type logins struct {
	secret []byte // signs the tokens of all sessions; set once

	mu  sync.Mutex // guards what follows; nothing blocks under it
	all map[string]*login
}

// login is a browser in which a key has been entered. The key is checked anew for each request,
// so that one that is revoked is of no use at once.
type login struct {
	who         string // the caller's ID
	credential  string // as in the header Authorization
	began, used time.Time
}

// routeDashboard adds the paths of the page.
func (h *HTTP) routeDashboard() {
	d := h.opts.Dashboard
	if d.Stream == nil {
		return
	}
	h.logins.secret = make([]byte, 32)
	rand.Read(h.logins.secret) // never fails
	for path, file := range d.Files {
		serve := func(w http.ResponseWriter, req *http.Request) {
			setPageHeaders(w)
			w.Header().Set("Cache-Control", "no-cache") // a newer server has newer files
			file.ServeHTTP(w, req)
		}
		if h.routes[path] == nil {
			h.routes[path] = methods{http.MethodHead: serve}
		}
		h.routes[path][http.MethodGet] = serve
	}
	h.routes[pathSession] = methods{http.MethodGet: h.ofPage(h.showSession), http.MethodPost: h.ofPage(h.logIn), http.MethodDelete: h.ofPage(h.logOut)}
	h.routes[pathEvents] = methods{http.MethodGet: h.ofPage(h.streamPage)}
	for path, act := range d.Actions {
		h.routes[path] = methods{http.MethodPost: h.ofPage(func(w http.ResponseWriter, req *http.Request) {
			if h.mayAct(w, req) {
				act(w, req)
			}
		})}
	}
}

// setPageHeaders has browsers run nothing but what the page is made of, and show it in no frame
// of another site.
func setPageHeaders(w http.ResponseWriter) {
	w.Header().Set("Content-Security-Policy", "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'self'")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.Header().Set("Referrer-Policy", "no-referrer")
}

// isVisit reports whether a person follows a link of another site to the page. What is served for
// it has no data, and the page cannot be read by that site.
func (h *HTTP) isVisit(req *http.Request) bool {
	return h.opts.Dashboard.Stream != nil && req.Method == http.MethodGet && req.URL.Path == "/" &&
		req.Header.Get("Sec-Fetch-Mode") == "navigate" && req.Header.Get("Sec-Fetch-Dest") == "document"
}

// ofPage serves what only the page itself asks for: pages of other origins get none of it, even
// if they may call tools.
func (h *HTTP) ofPage(serve http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, req *http.Request) {
		setPageHeaders(w)
		w.Header().Set("Cache-Control", "no-store")
		if origin := req.Header.Get("Origin"); origin != "" && !isSameOrigin(origin, req.Host) {
			h.newExchange(w, req).refuseRequest(ReasonOrigin, http.StatusForbidden, "only the dashboard itself may send this request")
			return
		}
		if req.Method != http.MethodGet && req.Header.Get("Origin") == "" {
			h.newExchange(w, req).refuseRequest(ReasonOrigin, http.StatusForbidden, "the request has no Origin, which browsers send with it")
			return
		}
		serve(w, req)
	}
}

// administrator returns who looks at the page, if that is an administrator, and answers the
// request otherwise.
func (h *HTTP) administrator(w http.ResponseWriter, req *http.Request) (who caller.Caller, ok bool) {
	x := h.newExchange(w, req)
	who, err := h.viewer(req)
	if err != nil {
		if _, denied := errors.AsType[*caller.Denied](err); denied {
			// A challenge would have the browser ask for a password, which there is none of.
			x.refuseAs("unauthorized", ReasonUnauthorized, http.StatusUnauthorized, "log in with the key of an administrator: "+err.Error())
		} else {
			x.deny(err)
		}
		return who, false
	}
	x.from = who
	if !who.Admin {
		message := "the key is not that of an administrator; give it admin: true"
		if h.opts.Authenticate == nil {
			message = "only browsers on the machine of the server may look, that connect to it directly; callers elsewhere need keys: see --token-file"
		}
		x.refuseRequest(ReasonNotAdmin, http.StatusForbidden, message)
		return who, false
	}
	return who, true
}

// viewer authenticates a request of the page, by its cookie unless it has other credentials.
func (h *HTTP) viewer(req *http.Request) (caller.Caller, error) {
	if h.opts.Authenticate == nil {
		return h.origin(req).anonymous(), nil
	}
	if req.Header.Get("Authorization") == "" {
		if credential := h.logins.use(h.cookie(req)); credential != "" {
			req = req.Clone(req.Context())
			req.Header.Set("Authorization", credential)
		}
	}
	return h.opts.Authenticate(req)
}

// mayAct reports whether a request that acts is one of an administrator's own page, and answers
// it otherwise.
func (h *HTTP) mayAct(w http.ResponseWriter, req *http.Request) bool {
	if _, ok := h.administrator(w, req); !ok {
		return false
	}
	if !hmac.Equal([]byte(req.Header.Get(headerToken)), []byte(h.token(req))) {
		h.newExchange(w, req).refuseRequest(ReasonOrigin, http.StatusForbidden, "the token of the page is missing or wrong; load the page again")
		return false
	}
	return true
}

// token is the secret of a session, which the page sends back when it acts.
func (h *HTTP) token(req *http.Request) string {
	mac := hmac.New(sha256.New, h.logins.secret)
	mac.Write([]byte(h.cookie(req)))
	return base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}

// showSession tells the page who looks, and the token for what acts.
func (h *HTTP) showSession(w http.ResponseWriter, req *http.Request) {
	if who, ok := h.administrator(w, req); ok {
		_, isLogin := h.logins.get(h.cookie(req))
		writeJSON(w, map[string]any{"who": who.ID, "token": h.token(req), "login": isLogin})
	}
}

func writeJSON(w http.ResponseWriter, v any) {
	text, _ := json.Marshal(v) // cannot fail: it is plain
	beginJSON(w, http.StatusOK, len(text))
	_, _ = w.Write(text) // if it cannot, nobody is left to be told
}

// logIn begins a session for the key in the body, {"key": "…"}, if it is that of an administrator.
func (h *HTTP) logIn(w http.ResponseWriter, req *http.Request) {
	var body struct {
		Key string `json:"key"`
	}
	x := h.newExchange(w, req)
	if h.opts.Authenticate == nil {
		x.refuseRequest(ReasonMalformed, http.StatusBadRequest, "this server has no keys to log in with")
		return
	}
	if err := json.NewDecoder(http.MaxBytesReader(w, req.Body, maxLoginBody)).Decode(&body); err != nil || strings.TrimSpace(body.Key) == "" {
		x.refuseRequest(ReasonMalformed, http.StatusBadRequest, `the body must be like {"key": "omcp_…"}`)
		return
	}
	req.Header.Set("Authorization", "Bearer "+strings.TrimSpace(body.Key))
	who, ok := h.administrator(w, req)
	if !ok {
		return
	}
	id := rand.Text()
	h.logins.add(id, who.ID, req.Header.Get("Authorization"))
	h.setCookie(w, req, id, int(loginTime.Seconds()))
	w.WriteHeader(http.StatusNoContent)
}

// logOut ends the session of a request. Anybody may do that who has its cookie.
func (h *HTTP) logOut(w http.ResponseWriter, req *http.Request) {
	h.logins.remove(h.cookie(req))
	h.setCookie(w, req, "", -1)
	w.WriteHeader(http.StatusNoContent)
}

// streamPage sends an administrator what the page shows.
func (h *HTTP) streamPage(w http.ResponseWriter, req *http.Request) {
	who, ok := h.administrator(w, req)
	if !ok {
		return
	}
	ctx, cancel := context.WithCancel(caller.NewContext(req.Context(), who))
	defer cancel()
	defer context.AfterFunc(h.stopping, cancel)()
	h.opts.Dashboard.Stream(w, req.WithContext(ctx), func() bool {
		who, err := h.viewer(req)
		return err == nil && who.Admin
	})
}

// cookieName tells servers on one machine apart: browsers send a cookie to all ports of a host.
func cookieName(req *http.Request) string {
	_, port, err := net.SplitHostPort(req.Host)
	if err != nil {
		return "ollama-mcp"
	}
	return "ollama-mcp-" + port
}

// cookie is the id of the session of a request; "" for none.
func (h *HTTP) cookie(req *http.Request) string {
	c, err := req.Cookie(cookieName(req))
	if err != nil {
		return ""
	}
	return c.Value
}

// setCookie has a browser keep the id of a session, for so many seconds, and send it to the paths
// below /dashboard/ alone: browsers take the folder of the request if a cookie names no path, so
// that this holds behind a proxy that adds a prefix too. TLS may end at a proxy; the request's
// Origin, which ofPage has checked, says what the browser speaks.
func (h *HTTP) setCookie(w http.ResponseWriter, req *http.Request, id string, seconds int) {
	http.SetCookie(w, &http.Cookie{
		Name: cookieName(req), Value: id, MaxAge: seconds, HttpOnly: true, SameSite: http.SameSiteStrictMode,
		Secure: strings.HasPrefix(strings.ToLower(req.Header.Get("Origin")), "https://"),
	})
}

func (l *logins) add(id, who, credential string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.all == nil {
		l.all = make(map[string]*login)
	}
	l.expire()
	for len(l.all) >= maxLogins {
		delete(l.all, l.leastUsed())
	}
	l.all[id] = &login{who: who, credential: credential, began: time.Now(), used: time.Now()}
}

// leastUsed is the login that has been unused for longest, of those of the caller with the most: nobody
// who logs in again and again ends the logins of others. The mutex is held.
func (l *logins) leastUsed() (id string) {
	of := make(map[string]int)
	for _, one := range l.all {
		of[one.who]++
	}
	var least *login
	for candidate, one := range l.all {
		if least == nil || of[one.who] > of[least.who] || of[one.who] == of[least.who] && one.used.Before(least.used) {
			id, least = candidate, one
		}
	}
	return id
}

// expire forgets old logins. The mutex is held.
func (l *logins) expire() {
	for id, one := range l.all {
		if time.Since(one.used) >= loginIdle || time.Since(one.began) >= loginTime {
			delete(l.all, id)
		}
	}
}

func (l *logins) get(id string) (credential string, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.expire()
	one := l.all[id]
	if one == nil {
		return "", false
	}
	return one.credential, true
}

// use is the credential of a login, which has been used now; "" for none.
func (l *logins) use(id string) string {
	credential, ok := l.get(id)
	if !ok {
		return ""
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if one := l.all[id]; one != nil {
		one.used = time.Now()
	}
	return credential
}

func (l *logins) remove(id string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.all, id)
}
