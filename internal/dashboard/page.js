// The page shows what the server sends as events. All data becomes text of elements, never markup.
'use strict';
(() => {
  const MAX_CALLS = 300, MAX_CHANGES = 200, MAX_SAMPLES = 240;
  const MAX_SILENCE = 45000; // the server sends something every 15 s; times here are in milliseconds
  const MAX_HIDDEN = 60000; // a page that nobody sees leaves after this, and comes back when it is shown
  const $ = (id) => document.getElementById(id);
  const SVG = 'http://www.w3.org/2000/svg';

  // el makes an element: attributes, then children, of which strings become text.
  function el(tag, attrs, ...children) {
    const e = document.createElement(tag);
    for (const [name, value] of Object.entries(attrs || {})) {
      if (value === undefined || value === null || value === false) continue;
      e.setAttribute(name, value === true ? '' : String(value));
    }
    e.append(...children.filter((c) => c !== undefined && c !== null && c !== ''));
    return e;
  }
  function svg(tag, attrs, ...children) {
    const e = document.createElementNS(SVG, tag);
    for (const [name, value] of Object.entries(attrs)) e.setAttribute(name, String(value));
    e.append(...children);
    return e;
  }
  // sync makes the children of a container those of the items, keeping elements of the same key,
  // so that focus and open details stay.
  function sync(container, items, key, make, update) {
    const old = new Map([...container.children].map((c) => [c.dataset.key, c]));
    let at = container.firstElementChild;
    for (const item of items) {
      const k = String(key(item));
      let e = old.get(k);
      old.delete(k);
      if (!e) { e = make(item); e.dataset.key = k; }
      if (update) update(e, item);
      if (e === at) at = at.nextElementSibling; else container.insertBefore(e, at);
    }
    for (const e of old.values()) e.remove();
  }
  // redraw replaces what an element holds if the data has changed since.
  const drawn = new WeakMap();
  function redraw(e, data, make) {
    const text = JSON.stringify(data);
    if (drawn.get(e) === text) return;
    drawn.set(e, text);
    e.replaceChildren(...make().filter((c) => c !== undefined && c !== null && c !== ''));
  }
  function setText(e, text) { if (e.textContent !== text) e.textContent = text; }

  // ---- words ----
  const number = new Intl.NumberFormat('en');
  const n = (x) => number.format(x);
  function count(x, one, many) { return n(x) + ' ' + (x === 1 ? one : many || one + 's'); }
  function ms(t) {
    if (t < 1000) return Math.round(t) + ' ms';
    if (t < 10000) return (t / 1000).toFixed(1) + ' s';
    return span(t);
  }
  function span(t) {
    const s = Math.max(0, Math.round(t / 1000));
    if (s < 60) return s + ' s';
    if (s < 3600) return Math.floor(s / 60) + ' min' + (s % 60 && s < 600 ? ' ' + (s % 60) + ' s' : '');
    if (s < 172800) return Math.floor(s / 3600) + ' h ' + Math.floor(s % 3600 / 60) + ' min';
    return Math.floor(s / 86400) + ' days';
  }
  function bytes(b) {
    for (const unit of ['B', 'KiB', 'MiB']) {
      if (b < 1024) return (b < 10 && unit !== 'B' ? b.toFixed(1) : Math.round(b)) + ' ' + unit;
      b /= 1024;
    }
    return b.toFixed(1) + ' GiB';
  }
  function ordinal(x) {
    const tens = x % 100, ones = x % 10;
    if (tens > 10 && tens < 14) return x + 'th';
    return x + (ones === 1 ? 'st' : ones === 2 ? 'nd' : ones === 3 ? 'rd' : 'th');
  }
  function clock(t) {
    const d = new Date(t), today = new Date(); // of the browser, whose clock tells only the day
    const time = d.toLocaleTimeString([], { hour12: false });
    return d.toDateString() === today.toDateString() ? time : d.toLocaleDateString() + ' ' + time;
  }
  const CACHE = {
    off: 'not asked: the call or the server does not allow it', hit: 'hit', shared: 'hit: another replica had the answer, or made it', miss: 'miss: neither this nor a similar request was kept',
    refresh: 'refreshed: the call asked for a new answer', coalesced: 'shared the answer of an identical call under way', semantic: 'answer to a question that means the same',
  };
  // CACHED are the sources of answers that no model made for the call.
  const CACHED = { cache: 'cache', 'cache-shared': 'cache, other replica', 'cache-semantic': 'cache, similar question', coalesced: 'shared answer' };
  const PHASE = {
    starting: 'starting', waiting: 'queued', loading: 'loading the model', reading: 'reading the prompt', asking: 'asking the provider',
    hedging: 'asking a second host', answering: 'answering', 'asking again': 'asking again', retrying: 'about to retry',
    rerouting: 'looking for another host', embedding: 'embedding',
  };

  // ---- what is known ----
  let state = null, calls = [], changes = [], samples = [], token = '', source = null, dirty = false;
  // Ages are by the server's clock and by one of the browser that is never set.
  let epoch = 0;
  const now = () => epoch + performance.now();

  // ---- session and stream ----
  async function problemOf(answer) {
    const text = await answer.text();
    try { return JSON.parse(text).error_description || text; } catch { return text; }
  }
  async function begin() {
    close();
    if (document.hidden && state) return; // nobody sees it
    heard = performance.now();
    const mine = ++attempt;
    let answer;
    try {
      answer = await fetch('dashboard/session', { headers: { Accept: 'application/json' }, signal: AbortSignal.timeout(MAX_SILENCE) });
    } catch {
      return mine === attempt ? later() : undefined;
    }
    if (mine !== attempt) return; // it was begun again since
    if (answer.status === 401) return show('login');
    if (answer.status === 403) { notice(await problemOf(answer)); return show(''); }
    if (!answer.ok) return later();
    const session = await answer.json();
    if (mine !== attempt) return;
    token = session.token;
    $('logout').hidden = !session.login;
    source = new EventSource('dashboard/events');
    source.onmessage = (e) => { alive(); take(JSON.parse(e.data)); };
    source.addEventListener('alive', alive);
    source.addEventListener('end', begin);
    source.onerror = () => {
      linked(false);
      if (source && source.readyState === EventSource.CLOSED) later();
    };
  }
  let retry = 1000, waiting = 0, attempt = 0, heard = 0, hidden = 0;
  function alive() { heard = performance.now(); retry = 1000; linked(true); }
  // A connection that is dead does not always say so, as after the machine has slept.
  setInterval(() => { if (source && performance.now() - heard > MAX_SILENCE) later(); }, 5000);
  function seen() {
    clearTimeout(hidden);
    if (document.hidden) hidden = setTimeout(pause, MAX_HIDDEN);
    else if (!source && state) begin();
    else draw();
  }
  function pause() {
    if (!state) return;
    attempt++;
    close();
    linked(false);
    document.title = 'ollama-mcp'; // what it said is not known any more
  }
  function later() {
    close();
    linked(false);
    clearTimeout(waiting);
    waiting = setTimeout(begin, retry);
    retry = Math.min(30000, retry * 2);
  }
  function close() {
    clearTimeout(waiting);
    if (source) source.close();
    source = null;
  }
  function linked(yes) { setText($('link'), yes ? '· live' : '· reconnecting'); $('link').className = yes ? '' : 'warn'; }
  function show(what) {
    $('login').hidden = what !== 'login';
    $('page').hidden = $('nav').hidden = $('health').hidden = what !== 'page';
    if (what !== 'page') { // whoever may not look is left with nothing
      state = null; calls = []; changes = []; samples = [];
      for (const id of ['facts', 'host-list', 'running-rows', 'queue-list', 'calls-rows', 'trouble-list', 'changes-list', 'cache-facts', 'usage-rows', 'keys']) { $(id).replaceChildren(); drawn.delete($(id)); }
      setText($('link'), ''); setText($('about'), ''); $('logout').hidden = true; document.title = 'ollama-mcp';
    }
    if (what === 'login') { $('notice').hidden = true; $('key').focus(); }
  }
  function notice(text) { setText($('notice'), text); $('notice').hidden = !text; }

  $('login').addEventListener('submit', async (e) => {
    e.preventDefault();
    setText($('login-error'), '');
    const answer = await fetch('dashboard/session', { method: 'POST', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify({ key: $('key').value }) }).catch(() => null);
    if (answer && answer.ok) { $('key').value = ''; return begin(); }
    setText($('login-error'), answer ? await problemOf(answer) : 'The server does not answer; try again.');
  });
  $('logout').addEventListener('click', async () => {
    close();
    await fetch('dashboard/session', { method: 'DELETE' }).catch(() => null);
    begin();
  });

  function take(e) {
    epoch = e.now - performance.now();
    if (e.full) {
      calls = []; changes = []; samples = [];
      if (!state || state.began !== e.state.began) $('calls-rows').replaceChildren(); // a server begins to count its calls anew
    }
    state = e.state;
    calls = calls.concat(e.calls || []).slice(-MAX_CALLS);
    changes = changes.concat(e.changes || []).slice(-MAX_CHANGES);
    samples = samples.concat(e.samples || []).slice(-MAX_SAMPLES);
    if ($('page').hidden) { notice(''); show('page'); }
    dirty = true;
    draw();
  }
  document.addEventListener('visibilitychange', seen);
  setInterval(() => { if (state && !document.hidden) tick(); }, 1000);

  function draw() {
    if (document.hidden || !state || !dirty) return; // nobody sees it
    dirty = false;
    drawHead(); drawFacts(); drawHosts(); drawRunning(); drawQueue(); drawCalls(); drawLadders(); drawCache(); drawUsage();
    tick();
  }
  // tick shows how long ago, or for how long, things are.
  function tick() {
    for (const e of document.querySelectorAll('[data-since]')) setText(e, span(now() - Number(e.dataset.since)));
    for (const e of document.querySelectorAll('[data-until]')) setText(e, span(Number(e.dataset.until) - now()));
  }
  const since = (t) => el('span', { 'data-since': t }, span(now() - t));
  const until = (t) => el('span', { 'data-until': t }, span(t - now()));

  // ---- parts ----
  function drawHead() {
    const down = state.hosts.filter((h) => !h.well).length;
    const [text, cls] = state.trouble ? [state.trouble, 'bad'] : down ? [count(down, 'host') + ' down', 'warn'] : ['ready', ''];
    setText($('health'), text);
    $('health').className = 'pill ' + cls;
    document.title = (state.trouble ? 'Trouble' : state.queue.waiting ? state.queue.waiting + ' waiting' : 'ollama-mcp') + ' – ollama-mcp';
    redraw($('about'), [state.version, state.began], () => [state.version.replace(/-\d{14}.*/, ''), ', up ', since(state.began)]);
  }

  function drawFacts() {
    const s = state, t = s.totals, c = s.cache;
    const slots = s.hosts.filter((h) => h.well).reduce((sum, h) => sum + h.slots, 0);
    const asked = c.hits + c.misses + c.coalesced;
    const facts = [
      ['On hosts', n(t.in_flight), 'of ' + count(slots, 'slot')],
      ['Waiting', n(s.queue.waiting), s.queue.batch ? n(s.queue.batch) + ' batch' : ''],
      ['Calls', t.call_rate.toFixed(1), 'a second'],
      ['Answered', n(t.served), 'since start'],
      ['Failed', n(t.failed + t.refused), n(t.refused) + ' refused'],
      ['From the cache', asked ? Math.round(100 * (c.hits + c.coalesced) / asked) + ' %' : '–', ms(c.saved) + ' saved'],
      ['Retries', n(t.retries), n(t.retries_left) + ' left'],
    ];
    redraw($('facts'), facts, () => facts.map(([name, value, more]) => el('div', null, el('dt', null, name), el('dd', null, value, ' ', el('small', null, more)))));
  }

  function spark(name) {
    const points = samples.map((s) => s.hosts.find((h) => h.name === name)).filter(Boolean);
    if (points.length < 2) return null;
    const top = Math.max(2, ...points.map((p) => Math.max(p.slots, p.busy))), w = points.length - 1;
    const y = (v) => (36 - 34 * v / top).toFixed(1);
    const slots = points.map((p, i) => (i ? 'H' + i : 'M0 ' + y(p.slots)) + 'V' + y(p.slots)).join('');
    const busy = 'M0 36' + points.map((p, i) => 'L' + i + ' ' + y(p.busy)).join('') + 'L' + w + ' 36Z';
    const first = samples[0].at, label = 'slots (dashed) and calls in progress over ' + span(now() - first) + ', at most ' + top;
    return svg('svg', { class: 'spark', viewBox: '0 0 ' + w + ' 38', preserveAspectRatio: 'none', role: 'img', 'aria-label': label },
      svg('path', { class: 'busy', d: busy }), svg('path', { class: 'slots', d: slots }));
  }
  function drawHosts() {
    const all = state.hosts.concat((state.providers || []).map((p) => Object.assign({ provider: true }, p)));
    if (!all.length) return redraw($('host-list'), [], () => [el('p', { class: 'empty' }, 'There are no hosts. Start the server with ', el('code', null, '--host ADDRESS'), '.')]);
    if ($('host-list').firstElementChild && !$('host-list').firstElementChild.dataset.key) $('host-list').replaceChildren();
    sync($('host-list'), all, (h) => (h.provider ? 'p ' : 'h ') + h.name, () => el('article', { class: 'card' }), (e, h) => {
      e.classList.toggle('down', !h.well);
      redraw(e, [h, samples.length && samples[samples.length - 1].at], () => hostCard(h));
    });
  }
  function hostCard(h) {
    const slots = h.learned ? 'learned, ' + h.fewest + ' to ' + h.most : 'configured';
    const loaded = (h.loaded || []).map((m) => {
      const more = [m.context ? n(m.context) + ' context' : '', Math.round(100 * m.vram) + ' % on GPU'].filter(Boolean).join(', ');
      const slot = (h.models || []).find((x) => x.model === m.model);
      return el('li', null, m.model, el('span', { class: 'soft' }, ' ' + more, slot ? ', ' + slot.busy + ' of ' + count(slot.slots, 'slot') : '', m.expires ? ', unloads in ' : '', m.expires ? until(m.expires) : ''));
    });
    const ejected = (h.ejected || []).map((m) => el('li', { class: 'bad' }, m.model + ': breaker ' + m.breaker + ', ' + m.why));
    return [
      el('header', null, el('b', null, h.name), el('span', { class: 'dot ' + (h.well ? 'good' : 'bad') }, h.well ? 'healthy' : 'down', ' for ', h.since ? since(h.since) : '')),
      h.why ? el('p', { class: h.well ? 'warn' : 'bad' }, h.why) : null,
      el('p', null, h.busy + ' of ' + count(h.slots, 'slot') + ' in use', el('span', { class: 'soft' }, ' · ' + (h.provider ? 'provider' : slots) + (h.waiting ? ' · ' + h.waiting + ' waiting' : ''))),
      spark(h.name),
      h.reason ? el('p', { class: 'why' }, 'Slots: ' + h.reason) : null,
      el('p', { class: 'why' }, 'Breaker ' + h.breaker, h.until && h.breaker === 'open' ? ', next trial in ' : '', h.until && h.breaker === 'open' ? until(h.until) : '',
        h.latency ? ' · calls take ' + ms(h.latency) : '', h.version ? ' · Ollama ' + h.version : '', h.installed > 0 ? ' · ' + count(h.installed, 'model') : ''),
      h.cloud ? el('p', { class: 'why' }, 'Cloud: ' + (h.cloud.well ? 'healthy' : 'down, ' + (h.cloud.why || '')) + ', ' + h.cloud.busy + ' of ' + h.cloud.slots + ' in use') : null,
      loaded.length || ejected.length ? el('ul', { class: 'tags' }, ...loaded, ...ejected) : h.well && !h.provider ? el('p', { class: 'why' }, 'No model in memory: the first call loads one') : null,
    ];
  }

  const cell = (label, cls, ...children) => el('td', { 'data-l': label, class: cls || undefined }, el('div', null, ...children));
  function phaseText(c) {
    const parts = [PHASE[c.phase] || c.phase];
    if (c.phase === 'waiting' && c.place) parts[0] = 'queued, ' + ordinal(c.place) + ' of ' + c.of;
    if (c.expect) parts.push('about ' + ms(c.expect));
    if (c.tokens) parts.push(count(c.tokens, 'token'));
    if (c.rate) parts.push(c.rate.toFixed(0) + '/s');
    if (c.thinking) parts.push('thinking');
    if (c.parts) parts.push(c.parts);
    return parts.join(' · ');
  }
  function modelText(c) {
    const name = c.requested || c.model || '';
    return c.model && c.requested && c.model !== c.requested && c.model !== c.requested + ':latest' ? c.requested + ' → ' + c.model : name;
  }
  function drawRunning() {
    const all = state.live;
    setText($('running-n'), all.length ? n(all.length + (state.more_live || 0)) : '');
    $('running-none').hidden = all.length > 0;
    $('running-table').hidden = !all.length;
    $('running-more').hidden = !state.more_live;
    setText($('running-more'), state.more_live ? 'and ' + n(state.more_live) + ' more' : '');
    sync($('running-rows'), all, (c) => c.n, (c) => {
      const cancel = c.cancel ? el('button', { type: 'button', 'aria-label': 'Cancel ' + c.tool + ' of ' + c.caller }, 'Cancel') : '';
      if (cancel) cancel.addEventListener('click', () => askCancel(cancel, c.n));
      return el('tr', null, el('td'), cell('Caller', ''), cell('Host', ''), cell('Phase', ''), cell('For', 'num', since(c.began)), el('td', { class: 'num' }, cancel));
    }, (row, c) => {
      const what = row.firstChild, [who, host, phase] = [...row.children].slice(1, 4).map((td) => td.firstChild);
      redraw(what, [c.tool, c.requested, c.model], () => [el('b', null, c.tool), ' ', modelText(c), c.api ? el('span', { class: 'why' }, c.api) : null]);
      setText(who, c.caller);
      setText(host, c.host || '');
      redraw(phase, [phaseText(c), c.why, c.passed, c.partial], () => [
        phaseText(c), c.why ? el('span', { class: 'why' }, c.why) : null,
        ...(c.passed || []).map((p) => el('span', { class: 'why' }, 'Passed ' + p)),
        c.partial ? el('span', { class: 'why' }, c.partial) : null,
      ]);
    });
  }
  // A call is cancelled by a second press, within four seconds of the first.
  function askCancel(button, number) {
    if (!button.classList.contains('sure')) {
      button.classList.add('sure');
      setText(button, 'Cancel it?');
      setTimeout(() => { if (!button.disabled) { button.classList.remove('sure'); setText(button, 'Cancel'); } }, 4000);
      return;
    }
    button.disabled = true;
    setText(button, 'Cancelling');
    cancel(number, true).then((problem) => {
      if (!problem) return;
      notice('The call was not cancelled: ' + problem);
      button.disabled = false;
      button.classList.remove('sure');
      setText(button, 'Cancel');
    });
  }
  async function cancel(number, again) {
    const answer = await fetch('dashboard/cancel', { method: 'POST', headers: { 'Content-Type': 'application/json', 'X-Dashboard-Token': token }, body: JSON.stringify({ n: number }) }).catch(() => null);
    if (!answer) return 'the server does not answer';
    if (answer.ok || answer.status === 404) return '';
    if (answer.status === 403 && again) { // the server was started anew
      const session = await fetch('dashboard/session').catch(() => null);
      if (session && session.ok) { token = (await session.json()).token; return cancel(number, false); }
    }
    return problemOf(answer);
  }

  function drawQueue() {
    const q = state.queue, waiting = state.live.filter((c) => c.phase === 'waiting');
    setText($('queue-n'), q.waiting ? count(q.waiting, 'call') + ', ' + q.interactive + ' interactive, ' + q.batch + ' batch, ' + bytes(q.bytes) : '');
    $('queue-none').hidden = q.waiting > 0 || waiting.length > 0;
    const by = new Map();
    for (const c of waiting.sort((a, b) => a.place - b.place)) by.set(c.caller, (by.get(c.caller) || []).concat(c));
    for (const c of q.callers || []) if (!by.has(c.name)) by.set(c.name, []);
    sync($('queue-list'), [...by], (g) => g[0], () => el('div'), (e, [who, list]) => {
      const listed = (q.callers || []).find((c) => c.name === who);
      const all = listed ? Math.max(listed.n, list.length) : list.length;
      redraw(e, [who, all, list], () => [
        el('h3', null, who + ' – ' + count(all, 'call')),
        el('ol', null, ...list.map((c) => el('li', null,
          el('b', null, c.place ? ordinal(c.place) + ' of ' + c.of : 'next'), ' ' + c.tool + ' ' + (c.requested || ''), c.expect ? ', about ' + ms(c.expect) : '', c.batch ? ', batch' : '',
          c.why ? el('span', { class: 'soft' }, ' – ' + c.why) : ''))),
      ]);
    });
  }

  // ---- the last calls ----
  // pieces are the parts of a call's time: [kind, from, to], in milliseconds.
  function pieces(c, only) {
    const out = [], total = Math.max(1, c.took);
    const add = (kind, from, to) => { if (to > from) out.push([kind, Math.max(0, from), Math.min(total, to)]); };
    const list = (c.attempts || []).filter((a) => !a.hedge);
    if (!only && !list.length) {
      const cached = CACHED[c.source];
      add(c.code ? (c.place ? 'queue' : 'failed') : cached ? 'cached' : c.first ? 'first' : 'answer', 0, total);
      return out;
    }
    for (const a of only ? [only] : list) {
      add('queue', a.at - (a.waited || 0), a.at);
      const last = a === list[list.length - 1], end = a.end || total, failed = a.err || (last && c.code);
      if (failed && !a.first) { add('failed', a.at, Math.max(end, a.at + 1)); continue; }
      const began = a.first || (c.first ? Math.min(end, a.at + c.first) : a.at);
      const loaded = last && c.load ? Math.min(began, a.at + c.load) : a.at;
      add('load', a.at, loaded);
      add('first', loaded, began);
      add(failed ? 'failed' : 'answer', began, end);
    }
    return out;
  }
  function bars(parts, total, label) {
    const e = svg('svg', { class: 'bars', viewBox: '0 0 1000 12', preserveAspectRatio: 'none', role: 'img', 'aria-label': label });
    for (const [kind, from, to] of parts) e.append(svg('rect', { class: kind, x: (1000 * from / total).toFixed(1), y: 0, height: 12, width: Math.max(3, 1000 * (to - from) / total).toFixed(1) }));
    return e;
  }
  const WORDS = { queue: 'queue', load: 'load', first: 'first token', answer: 'answer', cached: 'cache', failed: 'failed' };
  const inWords = (parts) => parts.map(([kind, from, to]) => WORDS[kind] + ' ' + ms(to - from)).join(', ');

  function outcome(c) {
    if (c.code) return el('span', { class: 'bad' }, c.code);
    return CACHED[c.source] || c.host || '';
  }
  function callRow(c) {
    const parts = pieces(c);
    const more = el('button', { type: 'button', class: 'plain', 'aria-expanded': 'false' }, c.tool);
    const extras = [c.rung > 1 ? 'rung ' + c.rung : '', (c.attempts || []).length > 1 ? count(c.attempts.length, 'attempt') : ''].filter(Boolean).join(', ');
    const row = el('tr', null,
      cell('Ended', 'nowrap', clock(c.began + c.took)),
      cell('Call', '', more, ' ' + modelText(c)),
      cell('Caller', '', c.caller),
      cell('Answered by', '', outcome(c), extras ? el('span', { class: 'why' }, extras) : ''),
      cell('Tokens', 'num', c.out ? n(c.out) + (c.rate ? ' · ' + c.rate.toFixed(0) + '/s' : '') : ''),
      cell('Took', 'num', ms(c.took)),
      el('td', { class: 'wide' }, bars(parts, Math.max(1, c.took), inWords(parts))));
    row.dataset.key = c.n;
    more.addEventListener('click', () => {
      const open = row.nextElementSibling && row.nextElementSibling.dataset.of === String(c.n);
      more.setAttribute('aria-expanded', String(!open));
      if (open) row.nextElementSibling.remove();
      else row.after(el('tr', { 'data-of': c.n }, el('td', { colspan: 7 }, detail(c, parts))));
    });
    return row;
  }
  function detail(c, parts) {
    const fall = el('div', { class: 'fall' });
    const total = Math.max(1, c.took);
    const line = (name, one, text, note) => {
      fall.append(el('span', null, name), bars(one, total, inWords(one)), el('span', { class: 'ms' }, text));
      if (note) fall.append(el('span', { class: 'note' }, note));
    };
    if (c.place) fall.append(el('span', { class: 'note' }, 'Queued as ' + ordinal(c.place) + (c.expect ? ', expected to wait ' + ms(c.expect) : '') + '.'));
    if ((c.attempts || []).length) {
      c.attempts.forEach((a, i) => {
        const one = pieces(c, a);
        const note = [a.why ? 'Why this host: ' + a.why + '.' : '', a.err ? 'Failed: ' + a.err + (a.pause ? '; tried again after ' + ms(a.pause) : '') + '.' : ''].filter(Boolean).join(' ');
        line((i + 1) + '. ' + a.host, one, inWords(one), note);
      });
    } else line('In all', parts, inWords(parts), '');
    if (c.more) fall.append(el('span', { class: 'note' }, 'and ' + count(c.more, 'more attempt')));

    const facts = el('dl', { class: 'rows' });
    const fact = (name, ...value) => { if (value.some((v) => v !== '' && v !== undefined)) facts.append(el('dt', null, name), el('dd', null, ...value)); };
    fact('Error', c.code ? el('span', { class: 'bad' }, c.code + ': ' + (c.err || '')) : '');
    fact('Cache', c.cache ? (CACHE[c.cache] || c.cache) + (c.age ? ', ' + span(1000 * c.age) + ' old' : '') + (c.similarity ? ', similarity ' + c.similarity.toFixed(3) : '') + (c.saved ? ', saved ' + ms(c.saved) : '') : '');
    fact('Tokens', c.in || c.out ? n(c.in || 0) + ' in, ' + n(c.out || 0) + ' out' + (c.rate ? ', ' + c.rate.toFixed(1) + ' a second' : '') : '');
    fact('Ended because', c.done || '');
    fact('Overridden', (c.overridden || []).join(', '));
    fact('Filtered by', (c.filtered || []).join(', '));
    fact('Began', clock(c.began));
    fact('API', c.api || '');
    fact('Trace', c.trace ? el('span', { class: 'mono' }, c.trace) : '');

    const rungs = c.rung || (c.passed || []).length ? el('div', null, el('h3', null, 'Why this rung'),
      (c.passed || []).length ? el('ol', { class: 'steps' }, ...c.passed.map((p) => el('li', null, 'passed ' + p)), c.code ? '' : el('li', null, 'answered by ' + (c.model || 'the next')))
        : el('p', null, c.code ? 'The first rung was tried.' : 'The first rung answered.')) : '';
    const text = (title, value) => value ? el('div', null, el('h3', null, title), el('div', { class: 'text' }, value)) : '';
    return el('div', { class: 'detail' }, fall, el('div', { class: 'grid' }, facts, rungs), text('Prompt', c.prompt), text('Answer', c.answer));
  }

  const filters = ['f-text', 'f-outcome', 'f-tool', 'f-caller', 'f-took'].map($);
  filters.forEach((f) => f.addEventListener('input', () => { if (state) drawCalls(); }));
  $('filters').addEventListener('submit', (e) => e.preventDefault());
  function passes(c) {
    const [text, kind, tool, caller, took] = filters.map((f) => f.value);
    if (tool && c.tool !== tool || caller && c.caller !== caller || c.took < Number(took)) return false;
    if (kind === 'ok' && c.code || kind === 'bad' && !c.code || kind === 'fallback' && !(c.rung > 1) || kind === 'retry' && !((c.attempts || []).length > 1)) return false;
    if (kind === 'cache' && !CACHED[c.source]) return false;
    return !text || [c.tool, c.api, c.caller, c.requested, c.model, c.host, c.trace, c.code, c.err].some((x) => x && x.toLowerCase().includes(text.toLowerCase()));
  }
  function options(select, values) {
    const list = [...new Set(values)].sort().slice(0, 100);
    if (select.value && !list.includes(select.value)) list.push(select.value);
    if (drawn.get(select) === list.join('\n')) return;
    drawn.set(select, list.join('\n'));
    const chosen = select.value;
    select.replaceChildren(el('option', { value: '' }, 'all'), ...list.map((v) => el('option', { value: v }, v)));
    select.value = chosen;
  }
  function drawCalls() {
    options($('f-tool'), calls.map((c) => c.tool));
    options($('f-caller'), calls.map((c) => c.caller));
    const shown = calls.filter(passes).reverse();
    setText($('calls-n'), calls.length ? (shown.length < calls.length ? shown.length + ' of ' : '') + count(calls.length, 'call') : '');
    $('calls-none').hidden = shown.length > 0;
    $('calls-table').hidden = !shown.length;
    setText($('calls-none'), calls.length ? 'No call passes these filters.' : 'No call has ended since the server started.');
    const body = $('calls-rows'), keep = new Set(shown.map((c) => String(c.n)));
    for (const e of [...body.children]) if (!keep.has(e.dataset.key || e.dataset.of)) e.remove();
    let at = body.firstElementChild;
    for (const c of shown) {
      while (at && at.dataset.of) at = at.nextElementSibling;
      if (at && at.dataset.key === String(c.n)) at = at.nextElementSibling;
      else body.insertBefore(callRow(c), at);
    }
  }

  function drawLadders() {
    const s = state, trouble = [];
    for (const l of s.ladders) trouble.push(el('p', null, el('b', null, l.model), ' ', el('span', { class: l.state === 'recovering' ? 'warn' : 'bad' }, l.state), ' for ', since(l.since), el('span', { class: 'soft' }, ' – ' + l.reason)));
    for (const h of s.hosts.concat(s.providers || [])) {
      if (h.breaker !== 'closed') trouble.push(el('p', null, el('b', null, h.name), ' ', el('span', { class: 'bad' }, 'breaker ' + h.breaker), el('span', { class: 'soft' }, h.why ? ' – ' + h.why : '')));
      for (const m of h.ejected || []) trouble.push(el('p', null, el('b', null, m.model), ' on ' + h.name + ' ', el('span', { class: 'bad' }, 'breaker ' + m.breaker), el('span', { class: 'soft' }, ' – ' + m.why)));
    }
    redraw($('trouble-list'), [s.ladders, s.hosts.map((h) => [h.name, h.breaker, h.why, h.ejected]), s.providers && s.providers.map((h) => [h.name, h.breaker, h.why])],
      () => trouble.length ? trouble : [el('p', { class: 'empty' }, 'All ladders are answered by their first model, and all breakers are closed.')]);
    $('changes-none').hidden = changes.length > 0;
    redraw($('changes-list'), changes, () => changes.slice().reverse().map((c) => {
      const what = c.kind === 'ladder' ? 'ladder ' + c.name + ': ' + c.from + ' → ' : c.kind === 'model' ? c.model + ' on ' + c.name + ' ' : c.name + ' ';
      const is = c.kind === 'ladder' ? c.state : c.state === 'up' ? 'is well again' : 'is sent no more calls';
      return el('li', null, el('time', { datetime: new Date(c.at).toISOString() }, clock(c.at)), what, el('span', { class: c.state === 'up' || c.state === 'normal' ? 'good' : c.state === 'recovering' ? 'warn' : 'bad' }, is), c.why ? el('span', { class: 'soft' }, ' – ' + c.why) : '');
    }));
  }

  function drawCache() {
    const c = state.cache, m = state.semantic, asked = c.hits + c.misses + c.coalesced;
    const rows = [
      ['Hits', n(c.hits) + (asked ? ' of ' + n(asked) + ' look-ups' : '')], ['Shared while under way', n(c.coalesced)], ['Misses', n(c.misses)],
      ['Answers kept', n(c.entries) + ', ' + bytes(c.bytes)], ['Removed', n(c.evicted) + ' for room, ' + n(c.expired) + ' for age'], ['Not kept', n(c.refused) + ' too large or too rare'], ['Time saved', ms(c.saved)],
    ];
    if (m) rows.push(['Similar questions', n(m.hits) + ' answered' + (m.shadow ? ', ' + n(m.shadow) + ' could have been' : '') + ', ' + n(m.entries) + ' remembered'], ['Not reused because', (m.refused || []).map((r) => r.name + ' ' + n(r.n)).join(', ') || '–']);
    redraw($('cache-facts'), rows, () => rows.flatMap(([name, value]) => [el('dt', null, name), el('dd', null, value)]));
  }

  function drawUsage() {
    const u = state.usage;
    $('usage-none').hidden = u.rows.length > 0;
    $('usage-table').hidden = !u.rows.length;
    redraw($('usage-rows'), u.rows, () => u.rows.map((r) => el('tr', null, cell('Caller', '', r.caller), cell('Model', '', r.model), cell('Source', '', r.source),
      cell('Calls', 'num', n(r.calls) + (r.failed ? ' (' + n(r.failed) + ' failed)' : '')), cell('Tokens in', 'num', n(r.in)), cell('Tokens out', 'num', n(r.out)))));
    const more = [u.more ? 'and ' + count(u.more, 'more row') + ': see ollama-mcp usage' : '', u.bad ? 'some of it could not be read; the log of the server says why' : ''].filter(Boolean).join('; ');
    $('usage-more').hidden = !more;
    setText($('usage-more'), more);
    const keys = state.keys || [];
    redraw($('keys'), keys, () => keys.length ? [el('h3', null, 'Budgets of keys'), ...keys.map((k) => el('p', null, k.caller + ': ', ...[
      k.calls_per_day ? n(k.calls) + ' of ' + n(k.calls_per_day) + ' calls ' : '', k.calls_per_day ? el('meter', { max: k.calls_per_day, value: k.calls, 'aria-label': 'calls used' }) : '',
      k.tokens_per_day ? ' ' + n(k.tokens) + ' of ' + n(k.tokens_per_day) + ' tokens ' : '', k.tokens_per_day ? el('meter', { max: k.tokens_per_day, value: k.tokens, 'aria-label': 'tokens used' }) : '',
      k.expires ? (k.expires < now() ? ' expired' : ' expires in ') : '', k.expires && k.expires >= now() ? until(k.expires) : ''].filter(Boolean)))] : []);
  }

  begin();
  seen();
})();
