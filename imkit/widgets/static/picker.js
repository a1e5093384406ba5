// Groups and their threads: a list to walk with the arrow keys. The search looks through what the list holds.
export default part('imkit-picker', ({ model, el, say, hear }) => {
    const many = model.get('many');
    const today = dates(model, { hour: '2-digit', minute: '2-digit', hour12: false });
    const other = dates(model, { day: 'numeric', month: 'short' });
    const moment = at => new Date(at).toDateString() === new Date().toDateString() ? today.format(at) : other.format(at);

    let rooms = [], picked = null, chosen = new Set(), loading = true;
    const search = make('input', { cls: 'imkit-input', type: 'search', placeholder: say('pick_search_tip'), 'aria-label': say('pick_search'), on: { input: () => draw() } });
    const list = make('div', { cls: 'imkit-rooms', role: 'listbox', 'aria-label': say('pick_title'), 'aria-multiselectable': many });
    el.style.setProperty('--imkit-height', `${model.get('height')}px`);
    el.append(search, list);

    const choose = room => {
        if (many) {
            if (chosen.has(room.key)) chosen.delete(room.key); else chosen.add(room.key);
            model.send({ do: 'chosen', keys: [...chosen] });
        } else {
            picked = room.key;
            model.send({ do: 'pick', key: room.key });
        }
        draw();
        list.querySelector(`[data-key="${room.key}"]`)?.focus();
    };

    const line = room => {
        const facts = make('span', { cls: 'imkit-room-facts' }, ...room.facts.map(fact => make('span', { text: fact })),
            room.at ? make('time', { datetime: new Date(room.at).toISOString(), text: moment(room.at) }) : null);
        const node = make('div', {
            cls: `imkit-room ${room.kind}`, role: 'option', tabindex: '-1', 'data-key': room.key,
            'aria-selected': String(many ? chosen.has(room.key) : picked === room.key),
            on: {
                click: () => choose(room),
                keydown: event => {
                    const all = [...list.querySelectorAll('[role=option]')];
                    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
                    if (step) { event.preventDefault(); all[all.indexOf(node) + step]?.focus(); }
                    if (event.key === 'Enter' || event.key === ' ') { event.preventDefault(); choose(room); }
                },
            },
        });
        if (many) { const box = make('input', { type: 'checkbox', tabindex: '-1', 'aria-hidden': 'true' }); box.checked = chosen.has(room.key); node.append(box); }
        node.append(make('span', { cls: 'imkit-room-name', text: `${room.kind === 'group' ? '' : '# '}${room.name}` }), facts);
        if (room.last) node.append(make('span', { cls: 'imkit-room-last', text: room.last }));
        return node;
    };

    const draw = () => {
        const words = search.value.trim().toLowerCase();
        const fits = room => !words || [room.name, room.id, room.last, room.owner].some(text => String(text ?? '').toLowerCase().includes(words));
        const groups = new Set(rooms.filter(room => room.kind === 'thread' && fits(room)).map(room => room.group));
        const shown = rooms.filter(room => fits(room) || groups.has(room.key));
        const focused = list.contains(document.activeElement) ? document.activeElement.dataset.key : null;
        const place = list.scrollTop;
        list.replaceChildren(...shown.map(line));
        const note = loading ? 'pick_loading' : !rooms.length ? 'pick_empty' : !shown.length ? 'pick_nothing' : null;
        if (note) list.append(make('div', { cls: 'imkit-rooms-note', text: say(note) }));
        (list.querySelector('[aria-selected="true"]') ?? list.querySelector('[role=option]'))?.setAttribute('tabindex', '0');
        list.scrollTop = place;
        if (focused) list.querySelector(`[data-key="${focused}"]`)?.focus({ preventScroll: true });
    };

    const told = said => {
        if (said.do !== 'rooms') return;
        ({ rooms, picked, loading } = said);
        chosen = new Set(said.chosen);
        draw();
    };
    hear('msg:custom', told);
    draw();
    model.send({ do: 'open' });
});
