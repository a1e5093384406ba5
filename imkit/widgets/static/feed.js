const SHOWN = 200;  // rows on the page at once; scrolling up brings more of those that are held
const FACES = ['#8a4b08', '#1f6f54', '#6a3fa0', '#a02c5a', '#205f99', '#5b6b1a', '#9a3412', '#3b5b7a'];

const face = who => {
    let sum = 0;
    for (const letter of who) sum = (sum * 31 + letter.codePointAt(0)) % 9973;
    return FACES[sum % FACES.length];
};
const isBefore = (a, b) => a.at !== b.at ? a.at < b.at : BigInt(a.id || 0) < BigInt(b.id || 0);
const minutes = ms => `${Math.floor(ms / 60000)}:${String(Math.floor(ms / 1000) % 60).padStart(2, '0')}`;
const bytes = size => size >= 1048576 ? `${(size / 1048576).toFixed(1)} MB` : size >= 1024 ? `${(size / 1024).toFixed(1)} KB` : `${size} B`;

export default part('imkit-feed', ({ model, el, say, hear }) => {
    const clock = dates(model, { hour: '2-digit', minute: '2-digit', hour12: false });
    const calendar = dates(model, { weekday: 'short', day: 'numeric', month: 'long', year: 'numeric' });
    const exact = dates(model, { dateStyle: 'full', timeStyle: 'long' });

    let rows = [];               // in order of time
    const known = new Map();     // key -> row
    const nodes = new Map();     // key -> element, of those on the page
    const pictures = new Map();  // key -> address of bytes in this page
    const opened = new Map();    // key -> rows of a bundle
    let from = 0, unseen = 0, editing = null, scheduled = false;

    const name = make('span', { cls: 'imkit-feed-name' });
    const state = make('span', { cls: 'imkit-feed-state' });
    const parent = make('div', { cls: 'imkit-feed-parent', hidden: true });
    const earlier = make('button', {
        cls: 'imkit-feed-earlier', type: 'button', text: say('feed_earlier'), hidden: true,
        on: { click: () => { earlier.disabled = true; earlier.textContent = say('feed_loading'); model.send({ do: 'earlier' }); } },
    });
    const empty = make('div', { cls: 'imkit-feed-empty', text: say('feed_loading') });
    const list = make('ol');
    const scroller = make('div', { cls: 'imkit-feed-list', tabindex: '0', role: 'log', 'aria-live': 'polite', 'aria-label': say('feed_title') }, earlier, empty, list);
    const newer = make('button', { cls: 'imkit-newer', type: 'button', hidden: true, on: { click: () => toEnd() } });
    el.append(make('div', { cls: 'imkit-feed-head' }, state, name, parent), scroller, newer);
    el.style.setProperty('--imkit-height', `${model.get('height')}px`);

    const atEnd = () => scroller.scrollHeight - scroller.scrollTop - scroller.clientHeight < 60;
    const toEnd = () => {
        from = Math.max(rows.length - SHOWN, 0);
        draw();
        scroller.scrollTop = scroller.scrollHeight;
        unseen = 0;
        newer.hidden = true;
    };
    // A window that gets narrower makes the rows higher: who was at the end stays there.
    let pinned = true;
    const resized = new ResizeObserver(() => { if (pinned) scroller.scrollTop = scroller.scrollHeight; });
    resized.observe(scroller);
    scroller.addEventListener('scroll', () => {
        pinned = atEnd();
        if (pinned) { unseen = 0; newer.hidden = true; }
        if (scroller.scrollTop < 80 && from > 0) {
            const before = scroller.scrollHeight;
            from = Math.max(from - SHOWN, 0);
            draw();
            scroller.scrollTop += scroller.scrollHeight - before;
        }
    });

    const watch = new IntersectionObserver(seen => {
        for (const { isIntersecting, target } of seen) {
            if (isIntersecting) {
                watch.unobserve(target);
                model.send({ do: 'picture', key: target.dataset.key });
            }
        }
    }, { root: scroller, rootMargin: '200px' });

    const act = (row, what, button, more = {}) => {
        if (button) button.disabled = true;
        model.send({ do: what, key: row.key, ...more });
    };

    const content = (row, isInner) => {
        const parts = [];
        const words = text => make('span', { cls: 'imkit-words', text });
        const kind = make('span', { cls: 'imkit-kind', text: say(`type_${row.type}`) });
        const bring = isInner ? null : make('button', { type: 'button', text: say('feed_download'), on: { click: event => act(row, 'download', event.target) } });
        switch (row.type) {
            case 'txt': parts.push(words(row.text)); break;
            case 'img': {
                if (isInner) { parts.push(kind, ` ${row.file}`); break; }
                const known = pictures.get(row.key);
                if (known?.address) parts.push(make('img', { src: known.address, alt: row.file || say('type_img') }));
                else {
                    const waits = make('span', { cls: 'imkit-kind', text: known?.why ?? `${say('type_img')} ${row.file} …`, 'data-key': row.key });
                    if (!known) watch.observe(waits);
                    parts.push(waits);
                }
                parts.push(make('div', { cls: 'imkit-file' }, make('bdi', { cls: 'imkit-kind', text: row.file }), bring));
                break;
            }
            case 'audio': case 'video': case 'file':
                parts.push(make('div', { cls: 'imkit-file' }, kind, make('bdi', { cls: 'imkit-words', text: row.file }),
                    make('span', { cls: 'imkit-kind', text: [row.size ? bytes(row.size) : '', row.seconds ? `${row.seconds} s` : ''].filter(Boolean).join(' · ') }), bring));
                break;
            case 'loc': parts.push(make('div', { cls: 'imkit-file' }, kind, words(row.text), make('span', { cls: 'imkit-kind', text: row.place }))); break;
            case 'combine': {
                parts.push(make('div', { cls: 'imkit-file' }, kind, words(row.text), isInner ? null : make('button', { type: 'button', text: say('feed_open'), on: { click: event => act(row, 'unpack', event.target) } })));
                if (row.summary) parts.push(make('div', { cls: 'imkit-kind', text: row.summary }));
                const inner = opened.get(row.key);
                if (inner) parts.push(make('div', { cls: 'imkit-inner' }, ...inner.map(one => make('div', {}, make('b', { text: `${one.who}  ` }), ...content(one, true)))));
                break;
            }
            default:
                parts.push(make('div', { cls: 'imkit-file' }, kind, words(row.text)));
                if (row.params) parts.push(make('pre', { text: row.params }));
        }
        if (row.ext) parts.push(make('details', {}, make('summary', { text: say('feed_ext') }), make('pre', { text: row.ext })));
        return parts;
    };

    const editor = row => {
        const text = make('textarea', { rows: '2', 'aria-label': say('feed_edit_label') });
        text.value = row.text;
        const stop = () => { editing = null; refresh(row); };
        const save = () => { editing = null; act(row, 'edit', null, { text: text.value }); refresh(row); };
        text.addEventListener('keydown', event => {
            if (event.key === 'Enter' && !event.shiftKey && !event.isComposing) { event.preventDefault(); save(); }
            if (event.key === 'Escape') { event.stopPropagation(); stop(); }
        });
        requestAnimationFrame(() => text.focus({ preventScroll: true }));
        return make('div', { cls: 'imkit-editor' }, text, make('div', {},
            make('button', { type: 'button', cls: 'imkit-primary', text: say('save'), on: { click: save } }), ' ',
            make('button', { type: 'button', text: say('cancel'), on: { click: stop } })));
    };

    const build = row => {
        const time = make('time', { datetime: new Date(row.at).toISOString(), title: `${exact.format(row.at)} · ${row.id}`, text: clock.format(row.at) });
        const who = make('div', { cls: 'imkit-who' }, make('b', { text: row.who }), time);
        if (row.room) who.append(make('bdi', { text: `# ${row.room}` }));
        if (row.edited) who.append(make('span', { text: `(${say('feed_edited')}${row.edited > 1 ? ` ${row.edited}×` : ''})` }));
        const bubble = make('div', { cls: row.recalled ? 'imkit-bubble recalled' : 'imkit-bubble' });
        const said = make('div', { cls: 'imkit-said' }, who, bubble);
        if (editing === row.key) bubble.append(editor(row));
        else bubble.append(...content(row));
        if (row.recalled) said.append(make('div', { cls: 'imkit-actions imkit-note', text: say('feed_recalled', { who: row.recalled }) }));
        else if (row.own && row.until > Date.now() && editing !== row.key) {
            const actions = make('div', { cls: 'imkit-actions' },
                make('button', { type: 'button', text: say('feed_recall'), on: { click: event => act(row, 'recall', event.target) } }));
            if (row.type === 'txt') actions.append(make('button', { type: 'button', text: say('feed_edit'), on: { click: () => { editing = row.key; refresh(row); } } }));
            actions.append(make('span', { cls: 'imkit-left', text: say('feed_left', { left: minutes(row.until - Date.now()) }) }));
            said.append(actions);
        }
        return make('li', { cls: row.own ? 'imkit-message own' : 'imkit-message', 'data-key': row.key },
            make('div', { cls: 'imkit-face', 'aria-hidden': 'true', style: `background:${face(row.who)}`, text: [...row.who][0]?.toUpperCase() ?? '?' }), said);
    };

    const refresh = row => {
        const node = nodes.get(row.key);
        if (!node) return;
        const fresh = build(row);
        node.replaceWith(fresh);
        nodes.set(row.key, fresh);
    };

    // A row that grows must not push the newest out of sight.
    const settle = row => {
        if (!row) return;
        const wasAtEnd = atEnd();
        refresh(row);
        if (wasAtEnd) scroller.scrollTop = scroller.scrollHeight;
    };

    // The page holds rows[from:], in order, with a line for each new day.
    const draw = () => {
        empty.hidden = rows.length > 0;
        empty.textContent = say('feed_empty');
        const shown = rows.slice(from);
        const wanted = new Set(shown.map(row => row.key));
        for (const [key, node] of nodes) if (!wanted.has(key)) { node.remove(); nodes.delete(key); }
        for (const day of [...list.querySelectorAll('.imkit-day')]) day.remove();
        let place = list.firstChild, day = '';
        for (const row of shown) {
            const today = calendar.format(row.at);
            if (today !== day) { list.insertBefore(make('li', { cls: 'imkit-day', text: today }), place); day = today; }
            let node = nodes.get(row.key);
            if (!node) { node = build(row); nodes.set(row.key, node); }
            if (node === place) place = place.nextSibling;
            else list.insertBefore(node, place);
        }
    };

    const take = ({ rows: told, first, anew }) => {
        if (anew) { rows = []; known.clear(); from = 0; list.replaceChildren(); nodes.clear(); }
        const wasAtEnd = anew || atEnd();
        let arrived = 0, sorted = true;
        for (const row of told) {
            row.until = row.left ? Date.now() + row.left : 0;
            const before = known.get(row.key);
            known.set(row.key, row);
            if (before) {
                rows[rows.indexOf(before)] = row;
                refresh(row);
            } else {
                if (rows.length && isBefore(row, rows[rows.length - 1])) sorted = false;
                rows.push(row);
                arrived += 1;
            }
        }
        const last = rows.length - arrived;
        const height = scroller.scrollHeight;
        if (!sorted) rows.sort((a, b) => a === b ? 0 : isBefore(a, b) ? -1 : 1);
        let gone = 0;
        while (gone < rows.length && (rows[gone].at < first[0] || (rows[gone].at === first[0] && BigInt(rows[gone].id || 0) < BigInt(first[1])))) gone += 1;
        for (const row of rows.splice(0, gone)) { known.delete(row.key); forget(row.key); }
        const grewAbove = !anew && !sorted && last > 0;
        if (wasAtEnd && !grewAbove) toEnd();
        else {
            from = grewAbove ? 0 : Math.max(from - gone, 0);
            draw();
            if (grewAbove) scroller.scrollTop += scroller.scrollHeight - height;
            else if (arrived) { unseen += arrived; newer.hidden = false; newer.textContent = `↓ ${say('feed_newer', { n: unseen })}`; }
        }
    };

    const forget = key => {
        const picture = pictures.get(key);
        if (picture?.address) URL.revokeObjectURL(picture.address);
        pictures.delete(key);
        opened.delete(key);
    };

    const told = (said, buffers) => {
        switch (said.do) {
            case 'rows': take(said); break;
            case 'head': {
                const wasAtEnd = atEnd();
                name.textContent = said.name;
                state.textContent = said.state;
                earlier.hidden = !said.earlier;
                earlier.disabled = false;
                earlier.textContent = say('feed_earlier');
                parent.hidden = !said.parent;
                if (said.parent) parent.replaceChildren(make('span', { cls: 'imkit-kind', text: `${say('feed_parent')} · ` }), make('b', { text: `${said.parent.who}  ` }), ...content(said.parent, true));
                if (wasAtEnd) scroller.scrollTop = scroller.scrollHeight;
                break;
            }
            case 'picture': {
                const row = known.get(said.key);
                if (!row) break;
                const wasAtEnd = atEnd();
                // Bytes that the kernel has drawn anew; the page asks nobody for anything.
                pictures.set(said.key, said.why ? { why: said.why } : { address: URL.createObjectURL(new Blob([buffers[0]], { type: said.kind })) });
                refresh(row);
                const picture = nodes.get(said.key)?.querySelector('img');
                if (wasAtEnd) { toEnd(); picture?.addEventListener('load', () => { scroller.scrollTop = scroller.scrollHeight; }); }
                break;
            }
            case 'unpacked': opened.set(said.key, said.rows); settle(known.get(said.key)); break;
            case 'done': if (editing !== said.key) settle(known.get(said.key)); break;
        }
    };

    // Only what is on the page ticks, and it is drawn anew only when its time is over.
    const ticking = setInterval(() => {
        for (const [key, node] of nodes) {
            const row = known.get(key);
            if (!row?.until) continue;
            const left = row.until - Date.now();
            const shown = node.querySelector('.imkit-left');
            if (left <= 0) { row.until = 0; if (editing === key) editing = null; refresh(row); }
            else if (shown) shown.textContent = say('feed_left', { left: minutes(left) });
        }
    }, 1000);

    hear('msg:custom', told);
    model.send({ do: 'open' });
    return () => {
        model.send({ do: 'shut' });
        clearInterval(ticking);
        watch.disconnect();
        resized.disconnect();
        for (const key of [...pictures.keys()]) forget(key);
    };
});
